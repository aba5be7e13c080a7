"""Train a method and test it, over seeds: `python -m platform.train methods.sadvae --dataset FOLDER --split NAME`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress

from platform import cli, options
from platform.errors import InputError
from platform.groups import grouped
from platform.setup import ConfiguredMethod, ProblemData, Setup

if TYPE_CHECKING:
    from platform.training.trainable import Experiment, Outcome
    from platform.zeroshot.problem import Problem

app = cli.application(__doc__)


@dataclass(frozen=True)
class SeedOptions(options.EvaluationOptions):
    """How a configuration is validated and tested, and with which seeds."""

    seed: Annotated[int, typer.Option(min=0, help="the first seed")] = 0
    seeds: Annotated[int, typer.Option(min=1, help="number of seeds, which train side by side")] = 1


@app.command(no_args_is_help=True)
@grouped
def train(
    context: typer.Context,
    method: options.MethodOptions,
    data: options.DataOptions,
    evaluation: SeedOptions,
    place: options.WorkerOptions,
    resume: Annotated[Path | None, options.RESUME] = None,
    as_json: options.Json = False,
) -> None:
    """Train a method and test it, over seeds."""
    from platform.training.trainable import Experiment

    if resume is not None:
        folder, asked = options.resumed(context, resume, "experiment.json", "no training stands there")
        experiment = Experiment.model_validate_json(asked)
        setup = setup_of(experiment)
    else:
        configured = method.found()
        setup = Setup(configured, data.found(configured.text_parts))
        setup.data.check_extractor(evaluation.allow_seen_extractor)
        experiment = Experiment(
            method=configured.name,
            problem=setup.data.problem,
            protocol=evaluation.asked(),
            configs=(configured.values,),
            seeds=tuple(range(evaluation.seed, evaluation.seed + evaluation.seeds)),
            test=True,
            device=place.device,
        )
        folder = place.new_folder("train", configured.name, setup.data.problem.dataset.name)
    carry_out(experiment, setup, folder, place, as_json, method.preset)


def setup_of(experiment: "Experiment") -> Setup:
    """The setup of an experiment with one configuration. Raises InputError where its method or data are missing."""
    method = ConfiguredMethod.of(experiment.method, experiment.configs[0])
    return Setup(method, ProblemData.of(experiment.problem, experiment.splits))


def carry_out(
    experiment: "Experiment",
    setup: Setup,
    folder: Path,
    place: options.WorkerOptions,
    as_json: bool,
    preset: str | None = None,
) -> None:
    """Train one configuration in `folder`, or resume there, record it in MLflow and show it. Raises InputError.

    setup: the experiment's; preset: the configuration's, to be shown.
    """
    from platform.files import held, write_json
    from platform.report.results_table import by_kind, results_table
    from platform.tracking.environment import environment_tags
    from platform.tracking.outcome import record_of
    from platform.tracking.record import Tracker
    from platform.tracking.store import ui_command
    from platform.training.devices import device_of
    from platform.training.together import seeds_together
    from platform.training.trainable import write_ensembles

    data = setup.data
    device_of(experiment.device)
    setup.check()
    # a user's mistakes show before a folder is made
    problems = {split: data.loaded(split) for split in data.splits}
    _say_setting(experiment, setup, problems, preset, as_json)
    _say_where_it_cannot_train(setup, problems)
    del problems  # each holds a copy of its samples, and the training reads its own
    data.say_extractor(as_json)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "experiment.json", experiment.model_dump(mode="json"))
    tracker = Tracker(folder.parent, "unseen")
    tracker.parent(
        folder.name,
        folder.name,
        {"method": experiment.method, "seeds": list(experiment.seeds), **experiment.configs[0]},
        {
            **environment_tags(),
            **data.tags(),
            **data.extractor_tags(),
            "method": experiment.method,
            "validation": experiment.protocol.validation,
        },
        [experiment.problem.dataset / "dataset.json"],
    )
    try:
        with held(folder):
            outcomes = _outcomes(experiment, setup.method, folder, place, as_json)
            together = seeds_together(experiment, outcomes, folder)
            write_ensembles(folder, together)
            outcomes += together
    except KeyboardInterrupt:
        tracker.finish("KILLED")
        cli.stopped(f"python -m platform.train --resume {folder}", place.workers, place.address)
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
    cli.console.print(results_table(by_kind(tested), [o.counts for o in tested], data.extractor_kinds()))
    for note in dict.fromkeys(note for o in tested for note in o.notes):
        cli.console.print(f"note: {note}", soft_wrap=True)
    cli.console.print(f"models {folder / 'models'}", soft_wrap=True)
    cli.console.print(f"\nCompare the runs in MLflow: {ui_command(folder.parent)}", soft_wrap=True, highlight=False)


def _say_where_it_cannot_train(setup: Setup, problems: "Mapping[str, Problem]") -> None:
    """A warning where the configuration cannot move the weights far enough on data of this size, with better values."""
    from platform.runtime import ROOT
    from platform.training.movement import too_little_movement

    method, config, name = setup.method.method, setup.method.config, setup.method.short
    tasks = [problem.task for problem in problems.values()]
    found = next((said for task in tasks if (said := too_little_movement(method, config, task))), None)
    if found is None:
        return
    fitting = " ".join(f"--set {name}={value:g}" for name, value in found.fitting.items())
    spaces = [f"search_spaces/{name}{small}.yaml" for small in ("_small", "")]
    space = next((space for space in spaces if (ROOT / space).exists()), None)
    asked = options.written(setup.data.problem, config.normalise)
    command = f"python -m platform.tune {setup.method.name} {asked} --space {space}"
    search = f"search with {command}, or " if space else ""
    cli.say(
        f"warning: {found.steps} steps at learning rate {config.learning_rate:g} move what {name} makes of class text "
        f"by {found.movement:.2g} at most; below about {found.least:g} it stays near chance: {search}try {fitting}"
    )


def _say_setting(
    experiment: "Experiment", setup: Setup, problems: "Mapping[str, Problem]", preset: str | None, as_json: bool
) -> None:
    """Show the summary of the training, or an event of it."""
    from rich.markup import escape
    from rich.table import Table

    from platform.report.setting import setting_of

    setting = setting_of(experiment, setup, problems, preset)
    if as_json:
        cli.event("setting", setting)
        return
    shown = Table(show_header=False, box=None, pad_edge=False)
    for what, said in setting.items():
        shown.add_row(what, escape(said))
    cli.console.print(shown)


def _outcomes(
    experiment: "Experiment", method: ConfiguredMethod, folder: Path, place: options.WorkerOptions, as_json: bool
) -> "list[Outcome]":
    from platform.training.trainable import train

    if place.workers > 1 or place.address is not None:
        from platform import runtime
        from platform.data_parallel import gpus_of_each
        from platform.training.workers import train_on_workers

        runtime.connect(place.address)
        return train_on_workers(experiment, folder, place.workers, gpus_of_each(place.workers, place.address))
    if as_json:
        names = ("stage", "epoch", "metrics")
        return train(experiment, folder, lambda *said: cli.event("epoch", dict(zip(names, said, strict=True))))
    with Progress(console=cli.console, transient=True) as progress:
        bars = {}

        def report(stage: str, epoch: int, metrics: Sequence[Mapping[str, float]]) -> None:
            if stage not in bars:
                bars[stage] = progress.add_task(stage, total=getattr(method.config, "epochs", None))
            progress.update(bars[stage], completed=epoch + 1)

        return train(experiment, folder, report)


if __name__ == "__main__":
    cli.run(app, "platform.train")
