"""Search a method's hyperparameters, then test the best configuration: `python -m platform.tune methods.sadvae`."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from platform import cli, options
from platform.errors import InputError
from platform.groups import Expected, Read, grouped
from platform.report.selection import Select
from platform.setup import Setup, feature_tag, text_tag

if TYPE_CHECKING:
    from platform.search.search import Chosen, Report, Search

app = cli.application(__doc__)
# tags of the options in MLflow
_SHOWN = {"trials", "sampler", "seed", "seeds", "splits", "select", "base", "pack", "halving"}


def _pack(flag: str, text: str) -> int | None:
    if text != "auto" and not (text.isdigit() and int(text) > 0):
        raise InputError(f"{flag} {text}: expected auto, or a number of trials")
    return None if text == "auto" else int(text)


def _splits(flag: str, text: str | None) -> tuple[str, ...]:
    several = options.names(text)
    if text is not None and (not several or len(set(several)) != len(several)):
        raise InputError(f"{flag} {text}: {_SPLITS}")
    return several


_SPLITS = "expected different names separated by commas, and no --split beside them"


@dataclass(frozen=True)
class TrialOptions:
    """The configurations that a search tries, and early stopping."""

    space: Annotated[
        Path | None, typer.Option(help="search-space file; if absent, the method's own, or the ranges of its fields")
    ] = None
    trials: Annotated[str | None, typer.Option(help="trials of each stage, as in 5,100; default: the file's")] = None
    sampler: Annotated[str | None, typer.Option(help="random, tpe, gp, cmaes, qmc or nsgaii; default: the file's")] = (
        None
    )
    seed: Annotated[int, typer.Option(min=0, help="seed of all random draws of the search")] = 0
    pack: Annotated[
        int | None,
        typer.Option(help="trials that one process trains side by side: a number, or auto"),
        Read(str, _pack, "auto"),
    ] = None
    stop_early: Annotated[
        int | None,
        typer.Option(
            "--stop-early", min=2, help="reduction factor η (ASHA): at each rung the best 1/η go on; off if absent"
        ),
    ] = None
    fewest_epochs: Annotated[int, typer.Option(min=1, help="epochs before which no trial is stopped early")] = 2
    warm_start: Annotated[
        str | None, typer.Option(help="a search's folder, or an MLflow experiment, from whose trials samplers learn")
    ] = None

    @property
    def halving(self) -> dict[str, int] | None:
        """The early stopping rule; None without --stop-early."""
        return self.stop_early and {"reduction": self.stop_early, "fewest_epochs": self.fewest_epochs}

    def counts(self, default: Sequence[int]) -> Sequence[int]:
        """Trials of each stage; default: the file's. Raises InputError where there are not as many as stages."""
        if self.trials is None:
            return default
        parts = self.trials.split(",")
        if len(parts) != len(default) or not all(part.strip().isdigit() and int(part) > 0 for part in parts):
            raise InputError(
                f"--trials {self.trials}: expected {len(default)} numbers above 0 (one a stage), as in "
                f"{','.join(map(str, default))}"
            )
        return [int(part) for part in parts]


@dataclass(frozen=True)
class SelectionOptions(options.EvaluationOptions):
    """How trials are validated, and what is tested at the end."""

    seeds: Annotated[int, typer.Option(min=1, help="seeds of each trial, whose metrics are averaged")] = 1
    splits: Annotated[
        tuple[str, ...],
        typer.Option(help="class splits of each trial, as in a,b,c, in place of --split"),
        Read(str | None, _splits),
    ] = ()
    select: Annotated[
        Select,
        typer.Option(help="with --splits: choose one configuration for all (together) or for each (per-split)"),
        Expected("together, or per-split"),
    ] = "together"
    test_seeds: Annotated[int, typer.Option(min=1, help="seeds with which the best configuration is tested")] = 3
    ensemble: Annotated[int, typer.Option(min=1, help="most configurations in the tested ensemble of the best")] = 3


@dataclass(frozen=True)
class TrialPlace(options.ClusterOptions):
    """Where trials train, and their resources."""

    checkpoint_seconds: Annotated[float, typer.Option(min=0, help="least seconds between checkpoints of a pack")] = 15.0
    cpus: Annotated[float, typer.Option(min=0.01, help="CPUs of a trial")] = 1.0
    gpus: Annotated[float | None, typer.Option(min=0, help="GPUs of a trial; a quarter where there are some")] = None
    concurrent: Annotated[int | None, typer.Option(min=1, help="trials at a time; default: as many as fit")] = None


@app.command(no_args_is_help=True)
@grouped
def tune(
    context: typer.Context,
    method: options.MethodOptions,
    data: options.DataOptions,
    trials: TrialOptions,
    selection: SelectionOptions,
    place: TrialPlace,
    resume: Annotated[Path | None, typer.Option(help="folder of an interrupted search to resume")] = None,
    as_json: options.Json = False,
) -> None:
    """Search a method's hyperparameters, then test the best configuration."""
    from platform.files import held
    from platform.search.search import Search

    if resume is not None:
        options.refuse_beside_resume(context)
        search = Search(resume.resolve())
    else:
        configured = method.found()
        if selection.splits and data.split is not None:
            raise InputError(f"--splits {','.join(selection.splits)}: {_SPLITS}")
        found = data.found(configured.text_parts, selection.splits)
        search = _created(Setup(configured, found), method, trials, selection, place)
    with held(search.folder):
        _run(search, place, as_json)


def _created(
    setup: Setup, method: options.MethodOptions, trials: TrialOptions, selection: SelectionOptions, place: TrialPlace
) -> "Search":
    """A new search's folder. Everything that a user can get wrong is checked before it is made.

    method: fields of --set may not be sampled by a stage; a preset's may, which then overrides them.
    """
    from platform.next_step import training_samples
    from platform.search.earlier import compared_tags, earlier_trials
    from platform.search.finding import find_space
    from platform.search.samplers import check_sampler
    from platform.search.search import Search, SearchOptions
    from platform.search.validation import folds_by_split
    from platform.training.devices import device_of

    configured, data, protocol = setup.method, setup.data, selection.asked()
    samples = min(training_samples(data.dataset, data.dataset.split(split)) for split in data.splits)
    found = find_space(configured, trials.space, samples, method.values)
    space = found.space
    for stage in space.stages:
        if fixed_twice := sorted(set(method.values) & set(stage.sampled)):
            raise InputError(f"{fixed_twice[0]}: stage `{stage.name}` of {found.name} samples it; use another --space")
    sampler = trials.sampler or space.sampler
    check_sampler(sampler, space.metric)
    if trials.halving and len(space.metric) > 1:
        raise InputError(f"--stop-early: {found.name} searches {' and '.join(space.metric)}; it takes one metric")
    device_of(place.device)
    counts = trials.counts([stage.trials for stage in space.stages])
    setup.check()
    data.check_extractor(selection.allow_seen_extractor)
    validation = folds_by_split(data, protocol)  # this encodes the class text, once: trials read it from the folder
    compared = compared_tags(configured.name, data, protocol)
    earlier = earlier_trials(trials.warm_start, place.runs, compared, cli.say) if trials.warm_start else []
    folder = place.new_folder("tune", configured.name, data.problem.dataset.name)
    asked = SearchOptions(
        name=folder.name,
        method=configured.name,
        problem=data.problem,
        protocol=protocol,
        base=dict(configured.values),
        trials=counts,
        sampler=sampler,
        seed=trials.seed,
        seeds=selection.seeds,
        splits=data.splits,
        select=selection.select,
        pack=trials.pack,
        halving=trials.halving,
        test_seeds=selection.test_seeds,
        ensemble=selection.ensemble,
        checkpoint_seconds=place.checkpoint_seconds,
        cpus=place.cpus,
        gpus=place.gpus,
        device=place.device,
        validation=validation,
        compared=compared,
        space=found.why,
    )
    return Search.create(folder, asked, found.text, earlier)


def _tags(search: "Search") -> dict[str, str]:
    """MLflow tags of a search's data, and of the choice of the best where there are several splits."""
    from platform.search.earlier import compared_tags

    asked, data = search.options, search.data
    compared = asked.compared or compared_tags(asked.method, data, asked.protocol)
    selection = {"selection": search.selection or asked.select} if len(asked.splits) > 1 else {}
    return {**data.tags(), **compared, **selection, **data.extractor_tags()}


def _run(search: "Search", place: TrialPlace, as_json: bool) -> None:
    from platform import runtime
    from platform.report.selection import best_folders
    from platform.search.execution import Resources
    from platform.search.progress import JsonWatch, LiveWatch
    from platform.search.validation import validated_on
    from platform.tracking.environment import environment_tags
    from platform.tracking.record import Tracker
    from platform.tracking.store import StoreUnavailable, ui_command
    from platform.training.trainable import read_outcomes

    asked, data = search.options, search.data
    home, grounds = search.folder.parent, validated_on(search.folds)
    if not as_json:
        trials = " + ".join(map(str, asked.trials))
        cli.console.print(
            f"{asked.method} on {asked.problem.dataset.name}, split {', '.join(asked.splits)}: {trials} trials"
        )
        cli.console.print(f"features {feature_tag(asked.problem)}, class text {text_tag(asked.problem)}")
        if asked.space:
            cli.console.print(f"space {asked.space}", soft_wrap=True, highlight=False, markup=False)
        cli.console.print(f"folder {search.folder}", soft_wrap=True)
        if data.dataset.card.simulated:
            cli.console.print("[bold]The data are simulated[/bold]: numbers show that things work, not how well.")
        cli.console.print(grounds, soft_wrap=True, highlight=False, markup=False)
    data.say_extractor(as_json)
    tracker = Tracker(home, "unseen")
    tracker.parent(
        asked.name,
        asked.name,
        {"method": asked.method, **asked.model_dump(mode="json", include=_SHOWN)},
        {**environment_tags(), **_tags(search)},
        [search.folder / "space.yaml", asked.problem.dataset / "dataset.json"],
    )
    resume = f"python -m platform.tune --resume {search.folder}"
    is_high = search.space.mode == "max"
    watch = JsonWatch() if as_json else LiveWatch(cli.console, search.space.leading, is_high, grounds)
    if as_json:
        cli.event("space", {"text": asked.space})
        cli.event("validation", {"text": grounds, "folds": search.folds})
    if search.selection:
        watch.said(f"{search.selection}; --select per-split chooses for each split alone")
    try:
        runtime.connect(place.address)
        cpus, gpus = runtime.resources()
        share = asked.gpus if asked.gpus is not None else min(0.25, gpus)
        resources = Resources(asked.cpus, share, place.concurrent)
        report = search.run(tracker, watch, resources, resources.fitting(cpus, gpus))
    except KeyboardInterrupt:
        watch.close()
        with suppress(StoreUnavailable):
            tracker.close_orphans()
            tracker.finish("KILLED")
        cli.stopped(resume)
    except BaseException as error:
        watch.close()
        if not isinstance(error, StoreUnavailable):
            with suppress(StoreUnavailable):
                tracker.finish("FAILED")
        cli.say(f"go on with: {resume}")
        raise
    watch.close()
    if as_json:
        cli.event("report", report.model_dump())
    else:
        names = best_folders(asked.select, asked.splits)
        tested = [o for name in names for o in read_outcomes(search.folder / "best" / name / "0") or ()]
        _show(report, ui_command(home), [outcome.counts for outcome in tested], data.extractor_kinds())


def _named(chosen: "Chosen") -> str:
    """The best trial, and how many others validation cannot tell from it."""
    others = f"{chosen.equals} other{'s are' if chosen.equals > 1 else ' is'} as good by the folds' standard error"
    said = [others] if chosen.equals else []
    return (
        " (".join([chosen.best_key, "; ".join([*said, *chosen.notes])]) + ")"
        if said or chosen.notes
        else chosen.best_key
    )


def _show(report: "Report", ui: str, counts: Sequence[Mapping[str, int]], extractor: Sequence[str]) -> None:
    from platform.report.results_table import results_table
    from platform.search.progress import leaderboard

    for split, chosen in (report.by_split or {"": report}).items():
        shown = leaderboard(chosen.leaders[:10], report.fields, chosen.front, chosen.validated_on, split)
        cli.console.print(shown)
    ends = f"{report.trials} trials, {report.stopped} stopped early, {report.failed} failed"
    best = [f"that of {split} is {_named(chosen)}" for split, chosen in report.by_split.items()]
    cli.console.print(f"{ends}; the best {', '.join(best) or f'is {_named(report)}'}", soft_wrap=True)
    cli.console.print(results_table(report.tests, counts, extractor))
    if report.selection:
        cli.console.print(f"{report.selection}: what is tested there is no clean number", soft_wrap=True, markup=False)
    cli.console.print(f"\nCompare the runs in MLflow: {ui}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    cli.run(app, "platform.tune")
