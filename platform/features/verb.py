"""`python -m platform.features`: train an extractor on the seen classes, write its features into a data folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress
from rich.table import Table

from platform import cli, options
from platform.configuration import assignments
from platform.errors import InputError
from platform.features.videos.verb import videos
from platform.groups import grouped
from platform.next_step import next_step

if TYPE_CHECKING:  # PyTorch stands behind them, and the verb's help should not wait for it
    from collections.abc import Mapping

    from platform.datasets.trained_on import TrainedOn
    from platform.features.saved import SavedExtractor
    from platform.features.training import Training
    from platform.features.writing import Writing

app = cli.application(__doc__)
app.command(no_args_is_help=True)(videos)

Name = Annotated[str | None, typer.Argument(metavar="EXTRACTOR", help="stgcn or shiftgcn")]


_NEAR_CHANCE = 0.1  # of the range above chance: an extractor below it has learned next to nothing
_TRAINING, _WRITING = "training.json", "writing.json"


@dataclass(frozen=True)
class TrainingOptions:
    """An extractor, and what it is trained on."""

    extractor: Name = None
    dataset: options.DatasetFolder = None
    split: options.Split = None
    preset: Annotated[str | None, typer.Option(help="named values: paper, small (a few thousand clips), utd")] = None
    assigned: options.Assignments = None
    seed: Annotated[int, typer.Option(min=0, help="seed of all random draws")] = 0
    validation: Annotated[
        bool, typer.Option(help="also train without the pseudo-unseen classes, for the folder's validation/")
    ] = True
    fold_seed: Annotated[int, typer.Option(min=0, help="seed of the draw of the pseudo-unseen classes")] = 0

    def asked(self, device: str) -> "Training":
        """Raises InputError where the extractor, a field, the data folder or the split is wrong."""
        from platform.features.extractors import EXTRACTORS, find_extractor
        from platform.features.training import Training

        if self.extractor is None:
            raise InputError(f"give an EXTRACTOR ({' or '.join(EXTRACTORS)}), or --resume FOLDER")
        config = find_extractor(self.extractor).configure(assignments(self.assigned or []), self.preset)
        opened, split = options.dataset_and_split(self.dataset, self.split)
        return Training(
            extractor=self.extractor,
            config=config.model_dump(mode="json"),
            dataset=opened.folder.resolve(),
            split=split,
            seed=self.seed,
            validation=self.validation,
            fold_seed=self.fold_seed,
            device=device,
        )


@dataclass(frozen=True)
class WritingOptions:
    """An extractor that was trained here or elsewhere, and how its features are written."""

    extractor: Name = None
    trained: Annotated[Path | None, typer.Option("--from", help="run folder of `features train`")] = None
    weights: Annotated[Path | None, typer.Option(help="published weights, .pt or .safetensors")] = None
    pretrained_on: options.PretrainedOn = None
    trained_on_classes: options.TrainedOnClasses = None
    dataset: Annotated[Path | None, typer.Option(help="data folder with skeletons; default: the training's")] = None
    name: Annotated[str | None, typer.Option(help="name of the feature set; default: the extractor's")] = None
    masked: Annotated[
        float, typer.Option(min=0, max=0.49, help="features of masked clips: share of the frames left out twice (SMIE)")
    ] = 0.0
    logits_name: Annotated[str | None, typer.Option(help="keep the logits as a feature set of this name, too")] = None
    out: Annotated[Path | None, typer.Option(help="a new data folder with this split alone; must not exist")] = None
    replace: Annotated[bool, typer.Option("--replace", help="overwrite a feature set of that name")] = False
    preset: Annotated[str | None, typer.Option(help="with --weights: named values, as utd")] = None
    assigned: options.Assignments = None
    batch: Annotated[int, typer.Option(min=1, help="clips that go through the network together")] = 32

    def asked(self, dataset: Path, extractor: str, device: str, training: "Training | None" = None) -> "Writing":
        """The options of writing; training: of an extractor that was trained here."""
        from platform.features.writing import Writing

        return Writing(
            dataset=dataset.resolve(),
            feature_set=self.name or extractor,
            training=training,
            logits_set=self.logits_name,
            out=self.out and self.out.resolve(),
            replace=self.replace,
            batch=self.batch,
            device=device,
            masked=self.masked,
        )


@dataclass(frozen=True)
class WritingPlace(options.ClusterOptions):
    """Where features are extracted, and by how many workers."""

    workers: Annotated[
        int | None, typer.Option(min=0, help="workers of Ray Data; default: one per GPU or CPU; 0: without Ray")
    ] = None


@app.command(no_args_is_help=True)
@grouped
def train(
    context: typer.Context,
    chosen: TrainingOptions,
    place: options.WorkerOptions,
    resume: Annotated[Path | None, options.RESUME] = None,
    as_json: options.Json = False,
) -> None:
    """Train an extractor on the seen classes of a split; no clip of an unseen class is read."""
    from platform.features.training import Training, check

    if resume is not None:
        folder, asked = options.resumed(context, resume, _TRAINING, "no training of an extractor stands there")
        training = Training.model_validate_json(asked)
    else:
        training = chosen.asked(place.device)
    check(training, place.workers)
    if resume is None:
        folder = place.new_folder("features", training.extractor, training.dataset.name)
    _train(training, folder, place, as_json)


@app.command(no_args_is_help=True)
@grouped
def write(
    context: typer.Context,
    chosen: WritingOptions,
    place: WritingPlace,
    resume: Annotated[Path | None, typer.Option(help="run folder of an interrupted writing")] = None,
    as_json: options.Json = False,
) -> None:
    """Write features (and, of a training, seen logits and validation/) of every clip into a data folder."""
    from platform.features.writing import Writing, check

    if resume is not None:
        folder, asked = options.resumed(context, resume, _WRITING, "no writing of features was begun there")
        writing = Writing.model_validate_json(asked)
    elif (chosen.trained is None) == (chosen.weights is None):
        raise InputError(
            "give --from RUN for an extractor trained here, or EXTRACTOR --weights FILE for a published one"
        )
    elif chosen.trained is not None:
        folder, writing = _from_training(chosen, place.device)
    else:
        folder, writing = _from_weights(chosen, place)
    check(writing, folder)
    _write(writing, folder, place, as_json)


def _train(training: "Training", folder: Path, place: options.WorkerOptions, as_json: bool) -> None:
    from platform.features.training import train as train_here
    from platform.files import held, write_json

    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / _TRAINING, training.model_dump(mode="json"))
    tracker = _tracker(folder, training)
    try:
        with held(folder):
            if place.workers > 1 or place.address is not None:
                from platform import runtime
                from platform.data_parallel import gpus_of_each
                from platform.features.workers import train_on_workers

                runtime.connect(place.address)
                gpus = gpus_of_each(place.workers, place.address)
                found = train_on_workers(training, folder, place.workers, gpus)
            elif as_json:
                found = train_here(training, folder, _events)
            else:
                with Progress(console=cli.console, transient=True) as progress:
                    found = train_here(training, folder, _bars(progress))
    except KeyboardInterrupt:
        tracker.finish("KILLED")
        cli.stopped(f"python -m platform.features train --resume {folder}", place.workers, place.address)
    except BaseException:
        tracker.finish("FAILED")
        raise
    for stage, saved in found.items():
        tracker.child(_record(stage, saved, folder))
    tracker.finish("FINISHED")
    if as_json:
        for stage, saved in found.items():
            cli.event("extractor", {"stage": stage, **{k: v for k, v in saved.record.items() if k != "history"}})
        return
    cli.console.print(_table(found))
    for stage, saved in found.items():
        chance = 1 / len(saved.seen)
        if saved.record["metrics"].get("accuracy", 1.0) < chance + _NEAR_CHANCE * (1 - chance):
            cli.say(
                f"warning: the {stage} extractor is near chance; train it for longer (--set epochs=N) before it is used"
            )
    _say_odd(found["final"].record["odd"])
    cli.line(f"Next: python -m platform.features write {training.extractor} --from {folder} --out DATA_FOLDER")


def _from_training(chosen: WritingOptions, device: str) -> "tuple[Path, Writing]":
    """The training's folder, and the options of writing its features."""
    from platform.features.training import Training

    if chosen.pretrained_on is not None or chosen.trained_on_classes is not None:
        raise InputError("--pretrained-on and --trained-on-classes go with --weights: a training is known")
    folder = chosen.trained.resolve()
    if not (folder / _TRAINING).exists():
        raise InputError(f"--from {chosen.trained}: no training of an extractor stands there (it has no {_TRAINING})")
    if chosen.preset or chosen.assigned:
        raise InputError("--preset and --set go with --weights: a trained extractor keeps what it was trained with")
    training = Training.model_validate_json((folder / _TRAINING).read_bytes())
    if chosen.extractor not in (None, training.extractor):
        raise InputError(f"{chosen.extractor}: --from {chosen.trained} holds a trained {training.extractor}")
    return folder, chosen.asked(chosen.dataset or training.dataset, training.extractor, device, training)


def _from_weights(chosen: WritingOptions, place: WritingPlace) -> "tuple[Path, Writing]":
    """A new folder with the published extractor in it, and the options of writing its features."""
    import tempfile

    from platform.features.extractors import EXTRACTORS, find_extractor
    from platform.features.saved import published
    from platform.features.training import extractor_path
    from platform.features.writing import check

    if chosen.extractor is None:
        raise InputError(f"say whose weights they are: write {' or write '.join(EXTRACTORS)}")
    if chosen.dataset is None:
        raise InputError("--dataset is needed: the data folder whose clips become features")
    config = find_extractor(chosen.extractor).configure(assignments(chosen.assigned or []), chosen.preset)
    saved = published(chosen.extractor, config, chosen.weights).made_from(_trained_on(chosen))
    writing = chosen.asked(chosen.dataset, chosen.extractor, place.device)
    with tempfile.TemporaryDirectory() as scratch:  # errors show before a run's folder is made
        saved.write(extractor_path(Path(scratch), "final"))
        check(writing, Path(scratch))
    folder = place.new_folder("features", chosen.extractor, writing.dataset.name)
    folder.mkdir(parents=True)
    saved.write(extractor_path(folder, "final"))
    return folder, writing


def _trained_on(chosen: WritingOptions) -> "TrainedOn":
    """The training data of published weights, from the options or the preset. Raises InputError without either."""
    from platform.datasets.folder import Dataset
    from platform.datasets.readers.trained_on_options import as_said
    from platform.datasets.trained_on import TrainedOn
    from platform.features.extractors import find_extractor

    said = chosen.pretrained_on
    known = find_extractor(chosen.extractor).pretrained_on.get(chosen.preset or "")
    if (said or known) is None:
        raise InputError(
            "--weights: say what data they were trained on, for the card, as in --pretrained-on ntu60 (or unknown)"
        )
    opened = Dataset(chosen.dataset)
    if said is None:
        start = TrainedOn(classes="none", other=(known,), source=f"the preset {chosen.preset}")
    else:  # trained on nothing of this data set, unless the options say so
        start = TrainedOn(classes="unknown" if said == "unknown" else "none")
    return as_said(start, chosen.trained_on_classes, said, opened.class_names, opened.named_split)


def _write(writing: "Writing", folder: Path, place: WritingPlace, as_json: bool) -> None:
    from platform.features.writing import write as write_there
    from platform.files import held, write_json

    write_json(folder / _WRITING, writing.model_dump(mode="json"))
    try:
        with held(folder):
            workers, gpus = _workers(place, writing.device)
            if as_json:
                written = write_there(writing, folder, workers, gpus, _written_events)
            else:
                with Progress(console=cli.console, transient=True) as progress:
                    written = write_there(writing, folder, workers, gpus, _written_bars(progress))
    except KeyboardInterrupt:
        cli.stopped(f"python -m platform.features write --resume {folder}")
    if as_json:
        cli.event("written", {"folder": written.dataset.folder, "set": writing.feature_set, "odd": dict(written.odd)})
        return
    dataset = written.dataset
    kinds = ["features"] + (["seen logits"] if writing.training else [])
    kinds += ["validation/"] if writing.training and writing.training.validation else []
    cli.console.print(
        f"{dataset.folder}: {', '.join(kinds)} of {len(dataset.labels):,} clips as `{writing.feature_set}`"
    )
    _say_odd(written.odd)
    if writing.training is not None:
        for line in next_step(dataset, [writing.training.split], writing.feature_set):
            cli.line(line)


def _workers(place: WritingPlace, device: str) -> tuple[int, float]:
    """Workers of Ray Data, which is connected where there are any, and the GPUs of each."""
    if place.workers == 0:
        return 0, 0.0
    from platform import runtime

    runtime.connect(place.address)
    cpus, gpus = runtime.resources()
    use_gpus = gpus >= 1 and device != "cpu"
    return place.workers or max(1, int(gpus if use_gpus else cpus)), 1.0 if use_gpus else 0.0


def _tracker(folder: Path, training: "Training"):  # noqa: ANN202 (MLflow stands behind the type)
    from platform.datasets.folder import Dataset
    from platform.tracking.environment import environment_tags
    from platform.tracking.record import Tracker

    card = Dataset(training.dataset).card
    tracker = Tracker(folder.parent, "unseen")
    tracker.parent(
        folder.name,
        folder.name,
        {"extractor": training.extractor, "seed": training.seed, **training.config},
        {**environment_tags(), "data.name": card.name, "data.split": training.split},
        [folder / _TRAINING],
    )
    return tracker


def _record(stage: str, saved: "SavedExtractor", folder: Path):  # noqa: ANN202
    from platform.features.training import extractor_path
    from platform.tracking.record import RunRecord

    return RunRecord(
        key=stage,
        name=stage,
        params={"classes": len(saved.seen), "clips": saved.record["clips"], **saved.config.model_dump(mode="json")},
        epochs=[{"epoch": i, **epoch} for i, epoch in enumerate(saved.record["history"])],
        metrics={f"seen/{name}": value for name, value in saved.record["metrics"].items()},
        status="FINISHED",
        tags={"pseudo_unseen": ", ".join(saved.record["pseudo_unseen"])},
        artifacts=[extractor_path(folder, stage)],
    )


def _events(stage: str, done: int, total: int, metrics: "Mapping[str, float] | None") -> None:
    if metrics is not None:
        cli.event("epoch", {"stage": stage, "steps": done, "of": total, **metrics})


def _bars(progress: Progress):  # noqa: ANN202
    bars = {}

    def report(stage: str, done: int, total: int, metrics: "Mapping[str, float] | None") -> None:
        bar = bars.setdefault(stage, None) or progress.add_task(stage, total=total)
        bars[stage] = bar
        said = "" if metrics is None else f": loss {metrics['loss']:.3f}, accuracy {100 * metrics['accuracy']:.1f} %"
        progress.update(bar, completed=done, **({"description": f"{stage}{said}"} if said else {}))

    return report


def _written_events(stage: str, done: int, total: int) -> None:
    cli.event("clips", {"stage": stage, "clips": done, "of": total})


def _written_bars(progress: Progress):  # noqa: ANN202
    bars = {}

    def report(stage: str, done: int, total: int) -> None:
        if stage not in bars:
            bars[stage] = progress.add_task(f"{stage} features", total=total)
        progress.update(bars[stage], completed=done)

    return report


def _table(found: "Mapping[str, SavedExtractor]") -> Table:
    heading = ("classes", "clips", "test clips", "accuracy, %", "of samples, %", "chance, %", "seconds an epoch")
    table = Table("", *heading)
    for stage, saved in found.items():
        metrics = saved.record["metrics"]
        reached = [f"{100 * metrics[n]:.1f}" if n in metrics else "-" for n in ("accuracy", "accuracy_per_sample")]
        counts = (len(saved.seen), saved.record["clips"], metrics.get("test_clips", 0))
        chance = f"{100 / len(saved.seen):.1f}"
        table.add_row(stage, *map(str, counts), *reached, chance, f"{metrics['seconds_per_epoch']:.1f}")
    return table


def _say_odd(odd: "Mapping[str, int]") -> None:
    from platform.features.writing import describe_odd

    for line in describe_odd(odd):
        cli.console.print(line, highlight=False)
