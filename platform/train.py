"""Train a method and test it, over seeds: `python -m platform.train methods.sadvae --dataset FOLDER --split NAME`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress

from platform import cli, options
from platform.errors import InputError

if TYPE_CHECKING:
    from platform.training.trainable import Experiment, Outcome
    from platform.zeroshot.problem import Problem

app = cli.application(__doc__)


@app.command(no_args_is_help=True)
def train(
    context: typer.Context,
    method: Annotated[str | None, typer.Argument(help="module of the method, such as methods.sadvae")] = None,
    dataset: options.DatasetFolder = None,
    split: options.Split = None,
    features: options.Features = None,
    encoder: options.Encoder = "minilm",
    text: options.Text = None,
    combine: options.Combine = None,
    normalise: options.Normalise = None,
    masked_features: options.MaskedFeatures = None,
    unseen_test: options.UnseenTest = None,
    assigned: options.Assignments = None,
    preset: options.Preset = None,
    seed: Annotated[int, typer.Option(min=0, help="the first seed")] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="how many seeds; they train side by side")] = 1,
    folds: options.Folds = options.FOLDS,
    protocol: options.Protocol = "both",
    allow_seen_extractor: options.AllowSeenExtractor = False,
    workers: Annotated[int, typer.Option(min=1, help="data-parallel workers of Ray Train; none is started for 1")] = 1,
    device: options.Device = "auto",
    address: options.Address = None,
    runs: options.Runs = Path("runs"),
    resume: Annotated[Path | None, typer.Option(help="folder of a training that was stopped or killed: go on")] = None,
    as_json: options.Json = False,
) -> None:
    """Train a method and test it, over seeds."""
    from platform.training.trainable import Experiment

    if resume is not None:
        options.refuse_beside_resume(context)
        folder = resume.resolve()
        if not (folder / "experiment.json").exists():
            raise InputError(f"--resume {resume}: no training stands there (it has no experiment.json)")
        experiment = Experiment.model_validate_json((folder / "experiment.json").read_bytes())
    elif method is None:
        raise InputError("give a METHOD, such as methods.sadvae, or --resume FOLDER")
    else:
        values = options.base_values(method, preset, assigned, normalise)
        parts = options.text_parts(method, values)
        problem = options.problem_options(
            dataset, split, features, encoder, text, combine, masked_features, unseen_test, parts
        )
        options.check_extractor(problem, [problem.split], allow_seen_extractor)
        experiment = Experiment(
            method=method,
            problem=problem,
            protocol=options.protocol_options(protocol, folds),
            configs=(values,),
            seeds=tuple(range(seed, seed + seeds)),
            test=True,
            device=device,
        )
        folder = options.run_folder(runs, "train", method, problem.dataset.name)
    carry_out(experiment, folder, workers, address, as_json, preset)


def carry_out(
    experiment: "Experiment",
    folder: Path,
    workers: int,
    address: str | None,
    as_json: bool,
    preset: str | None = None,
) -> None:
    """Train one configuration in `folder`, or go on there, record it in MLflow and show it. Raises InputError.

    preset: the one that the configuration was named by, to be said.
    """
    from platform.files import held, write_json
    from platform.report.tests import by_kind, test_table
    from platform.tracking.environment import environment_tags
    from platform.tracking.outcome import record_of
    from platform.tracking.record import Tracker
    from platform.tracking.store import ui_command
    from platform.training.devices import device_of
    from platform.training.together import seeds_together
    from platform.training.trainable import write_ensembles

    device_of(experiment.device)
    options.check_features(experiment.method, experiment.problem, experiment.configs[0].get("normalise", "auto"))
    options.check_text(experiment.method, experiment.configs[0], experiment.problem)
    splits = experiment.splits or (experiment.problem.split,)
    problems = _problems(experiment)  # a user's mistakes show before a folder is made
    _say_setting(experiment, problems, preset, as_json)
    _say_where_it_cannot_train(experiment, problems)
    del problems  # each holds a copy of its samples, and the training reads its own
    options.say_extractor(experiment.problem, splits, as_json)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "experiment.json", experiment.model_dump(mode="json"))
    tracker = Tracker(folder.parent, "unseen")
    tracker.parent(
        folder.name,
        folder.name,
        {"method": experiment.method, "seeds": list(experiment.seeds), **experiment.configs[0]},
        {
            **environment_tags(),
            **options.data_tags(experiment.problem, splits),
            **options.extractor_tags(experiment.problem, splits),
            "method": experiment.method,
        },
        [experiment.problem.dataset / "dataset.json"],
    )
    try:
        with held(folder):
            outcomes = _outcomes(experiment, folder, workers, address, as_json)
            together = seeds_together(experiment, outcomes, folder)
            write_ensembles(folder, together)
            outcomes += together
    except KeyboardInterrupt:
        tracker.finish("KILLED")
        cli.stopped(f"python -m platform.train --resume {folder}", workers, address)
    except BaseException:
        tracker.finish("FAILED")
        raise
    several = len(experiment.splits) > 1
    for outcome in outcomes:
        tracker.child(record_of(f"{outcome.split}-{outcome.name}" if several else outcome.name, outcome, folder))
    sound = [o for o in outcomes if o.status == "finished" and not o.ensemble]
    tracker.finish("FINISHED" if sound else "FAILED")
    if not sound:
        raise InputError(f"no seed came to an end: {outcomes[0].reason}")
    if as_json:
        for outcome in outcomes:
            cli.event("outcome", outcome.model_dump())
        return
    tested = [o for o in outcomes if o.test]
    kinds = options.extractor_kinds(experiment.problem, splits)
    cli.console.print(test_table(by_kind(tested), [o.counts for o in tested], kinds))
    for note in dict.fromkeys(note for o in tested for note in o.notes):
        cli.console.print(f"note: {note}", soft_wrap=True)
    cli.console.print(f"models {folder / 'models'}", soft_wrap=True)
    cli.console.print(f"\nCompare the runs in MLflow: {ui_command(folder.parent)}", soft_wrap=True, highlight=False)


def _problems(experiment: "Experiment") -> "dict[str, Problem]":
    """By split. Raises InputError where the data, the split or the class text are wrong."""
    from platform.zeroshot.problem import load_problem

    splits = experiment.splits or (experiment.problem.split,)
    return {split: load_problem(experiment.problem.model_copy(update={"split": split})) for split in splits}


def _say_where_it_cannot_train(experiment: "Experiment", problems: "Mapping[str, Problem]") -> None:
    """One line where the configuration cannot move the weights far enough on data of this size, and what would."""
    from platform.method import load_method
    from platform.runtime import ROOT
    from platform.training.movement import too_little_movement

    method, asked = load_method(experiment.method), experiment.problem
    config = method.configure(experiment.configs[0])
    tasks = [problem.task for problem in problems.values()]
    found = next((said for task in tasks if (said := too_little_movement(method, config, task))), None)
    if found is None:
        return
    fitting = " ".join(f"--set {name}={value:g}" for name, value in found.fitting.items())
    name = experiment.method.rpartition(".")[2]
    spaces = [f"search_spaces/{name}{small}.yaml" for small in ("_small", "")]
    space = next((space for space in spaces if (ROOT / space).exists()), None)
    command = f"python -m platform.tune {experiment.method} {options.written(asked, config.normalise)} --space {space}"
    search = f"search with {command}, or " if space else ""
    cli.say(
        f"warning: {found.steps} steps at learning rate {config.learning_rate:g} move what {name} makes of class text "
        f"by {found.movement:.2g} at most; below about {found.least:g} it stays near chance: {search}try {fitting}"
    )


def _say_setting(
    experiment: "Experiment", problems: "Mapping[str, Problem]", preset: str | None, as_json: bool
) -> None:
    """What is trained on what."""
    from rich.markup import escape
    from rich.table import Table

    from platform.report.setting import setting_of

    setting = setting_of(experiment, problems, preset)
    if as_json:
        cli.event("setting", setting)
        return
    shown = Table(show_header=False, box=None, pad_edge=False)
    for what, said in setting.items():
        shown.add_row(what, escape(said))
    cli.console.print(shown)


def _outcomes(
    experiment: "Experiment", folder: Path, workers: int, address: str | None, as_json: bool
) -> "list[Outcome]":
    from platform.training.trainable import train

    if workers > 1 or address is not None:
        from platform import runtime
        from platform.data_parallel import gpus_of_each
        from platform.training.workers import train_on_workers

        runtime.connect(address)
        return train_on_workers(experiment, folder, workers, gpus_of_each(workers, address))
    if as_json:
        return train(experiment, folder, lambda *said: cli.event("epoch", _epoch(*said)))
    with Progress(console=cli.console, transient=True) as progress:
        bars = {}

        def report(stage: str, epoch: int, metrics: Sequence[Mapping[str, float]]) -> None:
            if stage not in bars:
                bars[stage] = progress.add_task(stage, total=_epochs(experiment))
            progress.update(bars[stage], completed=epoch + 1)

        return train(experiment, folder, report)


def _epochs(experiment: "Experiment") -> int | None:
    from platform.method import load_method

    return getattr(load_method(experiment.method).configure(experiment.configs[0]), "epochs", None)


def _epoch(stage: str, epoch: int, metrics: Sequence[Mapping[str, float]]) -> dict[str, object]:
    return {"stage": stage, "epoch": epoch, "metrics": metrics}


if __name__ == "__main__":
    cli.run(app, "platform.train")
