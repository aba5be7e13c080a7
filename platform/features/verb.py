"""`python -m platform.features`: train an extractor on the seen classes, write its features into a data folder."""

# ruff: noqa: RUF013 (the options' types stand in platform/options.py)

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress
from rich.table import Table

from platform import cli, options
from platform.configuration import assignments
from platform.errors import InputError
from platform.features.videos.verb import videos
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


@app.command(no_args_is_help=True)
def train(
    context: typer.Context,
    extractor: Name = None,
    dataset: options.DatasetFolder = None,
    split: options.Split = None,
    preset: Annotated[str | None, typer.Option(help="named values: paper, small (a few thousand clips), utd")] = None,
    assigned: options.Assignments = None,
    seed: Annotated[int, typer.Option(min=0, help="of every random number")] = 0,
    validation: Annotated[
        bool, typer.Option(help="also train without the pseudo-unseen classes, for the folder's validation/")
    ] = True,
    fold_seed: Annotated[int, typer.Option(min=0, help="names the draw of the pseudo-unseen classes")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="data-parallel workers of Ray Train; none is started for 1")] = 1,
    device: options.Device = "auto",
    address: options.Address = None,
    runs: options.Runs = Path("runs"),
    resume: Annotated[Path | None, typer.Option(help="folder of a training that was stopped or killed: go on")] = None,
    as_json: options.Json = False,
) -> None:
    """Train an extractor on the seen classes of a split; no clip of an unseen class is read."""
    from platform.features.training import Training, check

    if resume is not None:
        options.refuse_beside_resume(context)
        folder = resume.resolve()
        if not (folder / _TRAINING).exists():
            raise InputError(f"--resume {resume}: no training of an extractor stands there (it has no {_TRAINING})")
        training = Training.model_validate_json((folder / _TRAINING).read_bytes())
        check(training, workers)
    else:
        training = _asked(extractor, dataset, split, preset, assigned, seed, validation, fold_seed, device)
        check(training, workers)
        folder = options.run_folder(runs, "features", training.extractor, training.dataset.name)
    _train(training, folder, workers, address, as_json)


@app.command(no_args_is_help=True)
def write(
    context: typer.Context,
    extractor: Name = None,
    trained: Annotated[Path | None, typer.Option("--from", help="run folder of `features train`")] = None,
    weights: Annotated[Path | None, typer.Option(help="published weights, .pt or .safetensors")] = None,
    pretrained_on: options.PretrainedOn = None,
    trained_on_classes: options.TrainedOnClasses = None,
    dataset: Annotated[Path | None, typer.Option(help="data folder with skeletons; the training's if absent")] = None,
    name: Annotated[str | None, typer.Option(help="of the feature set; the extractor's name if absent")] = None,
    masked: Annotated[
        float, typer.Option(min=0, max=0.49, help="features of masked clips: share of the frames left out twice (SMIE)")
    ] = 0.0,
    logits_name: Annotated[str | None, typer.Option(help="keep the logits as a feature set of this name, too")] = None,
    out: Annotated[Path | None, typer.Option(help="a new data folder with this split alone; must not exist")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="write over a feature set of that name")] = False,
    preset: Annotated[str | None, typer.Option(help="with --weights: named values, as utd")] = None,
    assigned: options.Assignments = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="of Ray Data; a GPU or a CPU each if absent; 0: this process, without Ray")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="clips that go through the network together")] = 32,
    device: options.Device = "auto",
    address: options.Address = None,
    runs: options.Runs = Path("runs"),
    resume: Annotated[Path | None, typer.Option(help="run folder of a writing that was stopped or killed")] = None,
    as_json: options.Json = False,
) -> None:
    """Write features (and, of a training, seen logits and validation/) of every clip into a data folder."""
    from platform.features.writing import Writing, check

    if resume is not None:
        options.refuse_beside_resume(context)
        folder = resume.resolve()
        if not (folder / _WRITING).exists():
            raise InputError(f"--resume {resume}: no writing of features was begun there (it has no {_WRITING})")
        writing = Writing.model_validate_json((folder / _WRITING).read_bytes())
    elif (trained is None) == (weights is None):
        raise InputError(
            "give --from RUN for an extractor trained here, or EXTRACTOR --weights FILE for a published one"
        )
    else:
        shared = {"logits_set": logits_name, "out": out and out.resolve(), "replace": replace}
        shared |= {"batch": batch, "device": device, "masked": masked}
        if trained is not None:
            if pretrained_on is not None or trained_on_classes is not None:
                raise InputError("--pretrained-on and --trained-on-classes go with --weights: a training is known")
            folder, writing = _from_training(extractor, trained, dataset, name, preset, assigned, shared)
        else:
            made_from = (pretrained_on, trained_on_classes)
            folder, writing = _from_weights(
                extractor, weights, made_from, dataset, name, preset, assigned, runs, shared
            )
    check(writing, folder)
    _write(writing, folder, workers, address, as_json)


_NEAR_CHANCE = 0.1  # of what lies above chance: an extractor that reaches less has learned next to nothing
_TRAINING, _WRITING = "training.json", "writing.json"


def _asked(
    extractor: str | None,
    dataset: Path | None,
    split: str | None,
    preset: str | None,
    assigned: list[str] | None,
    seed: int,
    validation: bool,
    fold_seed: int,
    device: str,
) -> "Training":
    from platform.features.extractors import EXTRACTORS, find_extractor
    from platform.features.training import Training

    if extractor is None:
        raise InputError(f"give an EXTRACTOR ({' or '.join(EXTRACTORS)}), or --resume FOLDER")
    config = find_extractor(extractor).configure(assignments(assigned or []), preset)
    opened, split = options.dataset_and_split(dataset, split)
    return Training(
        extractor=extractor,
        config=config.model_dump(mode="json"),
        dataset=opened.folder.resolve(),
        split=split,
        seed=seed,
        validation=validation,
        fold_seed=fold_seed,
        device=device,
    )


def _train(training: "Training", folder: Path, workers: int, address: str | None, as_json: bool) -> None:
    from platform.features.training import train as train_here
    from platform.files import held, write_json

    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / _TRAINING, training.model_dump(mode="json"))
    tracker = _tracker(folder, training)
    try:
        with held(folder):
            if workers > 1 or address is not None:
                from platform import runtime
                from platform.data_parallel import gpus_of_each
                from platform.features.workers import train_on_workers

                runtime.connect(address)
                found = train_on_workers(training, folder, workers, gpus_of_each(workers, address))
            elif as_json:
                found = train_here(training, folder, _events)
            else:
                with Progress(console=cli.console, transient=True) as progress:
                    found = train_here(training, folder, _bars(progress))
    except KeyboardInterrupt:
        tracker.finish("KILLED")
        cli.stopped(f"python -m platform.features train --resume {folder}", workers, address)
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
    _line(f"Next: python -m platform.features write {training.extractor} --from {folder} --out DATA_FOLDER")


def _from_training(
    extractor: str | None,
    trained: Path,
    dataset: Path | None,
    name: str | None,
    preset: str | None,
    assigned: list[str] | None,
    shared: "Mapping[str, object]",
) -> "tuple[Path, Writing]":
    """The training's own folder, and what is written from it."""
    from platform.features.training import Training
    from platform.features.writing import Writing

    folder = trained.resolve()
    if not (folder / _TRAINING).exists():
        raise InputError(f"--from {trained}: no training of an extractor stands there (it has no {_TRAINING})")
    if preset or assigned:
        raise InputError("--preset and --set go with --weights: a trained extractor keeps what it was trained with")
    training = Training.model_validate_json((folder / _TRAINING).read_bytes())
    if extractor not in (None, training.extractor):
        raise InputError(f"{extractor}: --from {trained} holds a trained {training.extractor}")
    source = dataset.resolve() if dataset is not None else training.dataset
    writing = Writing(dataset=source, feature_set=name or training.extractor, training=training, **shared)
    return folder, writing


def _from_weights(
    extractor: str | None,
    weights: Path,
    made_from: tuple[str | None, str | None],
    dataset: Path | None,
    name: str | None,
    preset: str | None,
    assigned: list[str] | None,
    runs: Path,
    shared: "Mapping[str, object]",
) -> "tuple[Path, Writing]":
    """A new folder with the published extractor in it, and what is written from it."""
    import tempfile

    from platform.features.extractors import EXTRACTORS, find_extractor
    from platform.features.saved import published
    from platform.features.training import extractor_path
    from platform.features.writing import Writing, check

    if extractor is None:
        raise InputError(f"say whose weights they are: write {' or write '.join(EXTRACTORS)}")
    if dataset is None:
        raise InputError("--dataset is needed: the data folder whose clips become features")
    config = find_extractor(extractor).configure(assignments(assigned or []), preset)
    saved = published(extractor, config, weights).made_from(_trained_on(extractor, dataset, preset, *made_from))
    writing = Writing(dataset=dataset.resolve(), feature_set=name or extractor, **shared)
    with tempfile.TemporaryDirectory() as scratch:  # what is wrong shows before a run's folder is made
        saved.write(extractor_path(Path(scratch), "final"))
        check(writing, Path(scratch))
    folder = options.run_folder(runs, "features", extractor, dataset.resolve().name)
    folder.mkdir(parents=True)
    saved.write(extractor_path(folder, "final"))
    return folder, writing


def _trained_on(
    extractor: str, dataset: Path, preset: str | None, pretrained_on: str | None, classes: str | None
) -> "TrainedOn":
    """What published weights were made from, as the user says or the preset knows. Raises InputError where neither."""
    from platform.datasets.folder import Dataset
    from platform.datasets.readers.trained_on_options import as_said
    from platform.datasets.trained_on import TrainedOn
    from platform.features.extractors import find_extractor

    known = find_extractor(extractor).pretrained_on.get(preset or "")
    if (pretrained_on or known) is None:
        raise InputError(
            "--weights: say what data they were trained on, for the card, as in --pretrained-on ntu60 (or unknown)"
        )
    opened = Dataset(dataset)
    if pretrained_on is None:
        start = TrainedOn(classes="none", other=(known,), source=f"the preset {preset}")
    else:  # of what they were made from, nothing is of this data set, unless that is said
        start = TrainedOn(classes="unknown" if pretrained_on == "unknown" else "none")
    return as_said(start, classes, pretrained_on, opened.class_names, opened.named_split)


def _write(writing: "Writing", folder: Path, workers: int | None, address: str | None, as_json: bool) -> None:
    from platform.features.writing import write as write_there
    from platform.files import held, write_json

    write_json(folder / _WRITING, writing.model_dump(mode="json"))
    try:
        with held(folder):
            workers, gpus = _workers(workers, address, writing.device)
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
            _line(line)


def _workers(asked: int | None, address: str | None, device: str) -> tuple[int, float]:
    """Workers of Ray Data, which is connected where there are any, and the GPUs of each."""
    if asked == 0:
        return 0, 0.0
    from platform import runtime

    runtime.connect(address)
    cpus, gpus = runtime.resources()
    use_gpus = gpus >= 1 and device != "cpu"
    return asked or max(1, int(gpus if use_gpus else cpus)), 1.0 if use_gpus else 0.0


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


def _line(text: str) -> None:
    cli.console.print(text, soft_wrap=True, markup=False, highlight=False)
