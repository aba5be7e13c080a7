"""Search a method's hyperparameters, then test the best configuration: `python -m platform.tune methods.sadvae`."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from platform import cli, options
from platform.configuration import assignments
from platform.datasets.folder import Dataset
from platform.errors import InputError

if TYPE_CHECKING:
    from platform.search.search import Chosen, Report, Search

app = cli.application(__doc__)
_SHOWN = {
    "trials",
    "sampler",
    "seed",
    "seeds",
    "splits",
    "select",
    "base",
    "pack",
    "halving",
}  # of the options, in MLflow


@app.command(no_args_is_help=True)
def tune(
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
    space: Annotated[
        Path | None, typer.Option(help="search-space file; if absent, the method's own, or what its fields say")
    ] = None,
    trials: Annotated[str | None, typer.Option(help="trials of each stage, as in 5,100; the file's if absent")] = None,
    sampler: Annotated[str | None, typer.Option(help="random, tpe, gp, cmaes, qmc or nsgaii; the file's")] = None,
    assigned: options.Assignments = None,
    preset: options.Preset = None,
    seed: Annotated[int, typer.Option(min=0, help="names every random draw of the search")] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="seeds of each trial, which is judged by their mean")] = 1,
    splits: Annotated[str | None, typer.Option(help="class splits of each trial, as in a,b,c; --split is one")] = None,
    select: Annotated[
        str, typer.Option(help="with --splits: one configuration for all, together, or each its own, per-split")
    ] = "together",
    folds: options.Folds = options.FOLDS,
    pack: Annotated[str, typer.Option(help="trials that one process trains side by side: a number, or auto")] = "auto",
    stop_early: Annotated[
        int | None, typer.Option("--stop-early", min=2, help="one trial in so many goes on at each rung; all if absent")
    ] = None,
    fewest_epochs: Annotated[int, typer.Option(min=1, help="before which no trial is stopped early")] = 2,
    warm_start: Annotated[
        str | None, typer.Option(help="a search's folder, or an MLflow experiment: samplers learn from its trials")
    ] = None,
    test_seeds: Annotated[int, typer.Option(min=1, help="seeds with which the best configuration is tested")] = 3,
    ensemble: Annotated[int, typer.Option(min=1, help="best configurations, at most, that are tested together")] = 3,
    protocol: options.Protocol = "both",
    allow_seen_extractor: options.AllowSeenExtractor = False,
    checkpoint_seconds: Annotated[float, typer.Option(min=0, help="between a pack's checkpoints, at least")] = 15.0,
    cpus: Annotated[float, typer.Option(min=0.01, help="CPUs of a trial")] = 1.0,
    gpus: Annotated[float | None, typer.Option(min=0, help="GPUs of a trial; a quarter where there are some")] = None,
    concurrent: Annotated[int | None, typer.Option(min=1, help="trials at a time; as many as fit if absent")] = None,
    device: options.Device = "auto",
    address: options.Address = None,
    runs: options.Runs = Path("runs"),
    resume: Annotated[Path | None, typer.Option(help="folder of a search that was stopped or killed: go on")] = None,
    as_json: options.Json = False,
) -> None:
    """Search a method's hyperparameters, then test the best configuration."""
    from platform.search.search import Search

    if resume is not None:
        options.refuse_beside_resume(context)
        search = Search(resume.resolve())
    elif method is None:
        raise InputError("give a METHOD, such as methods.sadvae, or --resume FOLDER")
    else:
        several = _splits(split, splits)
        base = options.base_values(method, preset, assigned, normalise)
        parts = options.text_parts(method, base)
        problem = options.problem_options(
            dataset, several[0], features, encoder, text, combine, masked_features, unseen_test, parts
        )
        search = _created(
            runs,
            method,
            space,
            trials,
            sampler,
            base,
            assignments(assigned or []) | ({} if normalise is None else {"normalise": normalise}),
            allow_seen_extractor=allow_seen_extractor,
            problem=problem,
            protocol=options.protocol_options(protocol, folds),
            seed=seed,
            seeds=seeds,
            splits=several if len(several) > 1 else [problem.split],
            select=_select(select),
            pack=_pack(pack),
            halving=stop_early and {"reduction": stop_early, "fewest_epochs": fewest_epochs},
            warm_start=warm_start,
            test_seeds=test_seeds,
            ensemble=ensemble,
            checkpoint_seconds=checkpoint_seconds,
            cpus=cpus,
            gpus=gpus,
            device=device,
        )
    from platform.files import held

    with held(search.folder):
        _run(search, address, concurrent, as_json)


def _created(
    runs: Path,
    method: str,
    space_file: Path | None,
    trials: str | None,
    sampler: str | None,
    base: Mapping[str, Any],
    assigned: Mapping[str, Any],
    allow_seen_extractor: bool,
    warm_start: str | None,
    **asked: Any,
) -> "Search":
    """A new search's folder. Everything that a user can get wrong is checked before it is made.

    assigned: those of `base` that --set gave; of a preset's values a stage may sample some, which then are its own.
    """
    from platform.next_step import training_samples
    from platform.search.earlier import compared_tags, earlier_trials
    from platform.search.finding import find_space
    from platform.search.samplers import check_sampler
    from platform.search.search import Search, SearchOptions
    from platform.search.validation import classes_of_folds
    from platform.training.devices import device_of
    from platform.zeroshot.problem import load_problem

    data = Dataset(asked["problem"].dataset)
    samples = min(training_samples(data, data.split(split)) for split in asked["splits"])
    found = find_space(method, space_file, samples, assigned)
    space = found.space
    for stage in space.stages:
        if fixed_twice := sorted(set(assigned) & set(stage.sampled)):
            raise InputError(f"{fixed_twice[0]}: stage `{stage.name}` of {found.name} samples it; use another --space")
    check_sampler(sampler or space.sampler, space.metric)
    if asked["halving"] and len(space.metric) > 1:
        raise InputError(f"--stop-early: {found.name} searches {' and '.join(space.metric)}; it takes one metric")
    device_of(asked["device"])
    counts = _trials(trials, [stage.trials for stage in space.stages])
    options.check_features(method, asked["problem"], base.get("normalise", "auto"))
    options.check_text(method, base, asked["problem"])
    options.check_extractor(asked["problem"], asked["splits"], allow_seen_extractor)
    validation = {}
    for split in asked["splits"]:  # the class text is encoded here, once, and trials read it from the folder
        loaded = load_problem(asked["problem"].model_copy(update={"split": split}))
        validation[split] = classes_of_folds(loaded, asked["protocol"])
    compared = compared_tags(method, asked["problem"], asked["protocol"], asked["splits"])
    earlier = earlier_trials(warm_start, runs, compared, cli.say) if warm_start else []
    folder = options.run_folder(runs, "tune", method, asked["problem"].dataset.name)
    search_options = SearchOptions(
        name=folder.name,
        method=method,
        base=dict(base),
        trials=counts,
        sampler=sampler or space.sampler,
        validation=validation,
        compared=compared,
        space=found.why,
        **asked,
    )
    return Search.create(folder, search_options, found.text, earlier)


def _tags(search: "Search") -> dict[str, str]:
    """What MLflow says of a search's data, and of how its best was chosen where there are several splits."""
    from platform.search.earlier import compared_tags

    asked = search.options
    compared = asked.compared or compared_tags(asked.method, asked.problem, asked.protocol, asked.splits)
    selection = {"selection": search.selection or asked.select} if len(asked.splits) > 1 else {}
    return {**options.data_tags(asked.problem, asked.splits), **compared, **selection}


def _select(text: str) -> str:
    if text not in ("together", "per-split"):
        raise InputError(f"--select {text}: expected together, or per-split")
    return text


def _splits(split: str | None, splits: str | None) -> list[str | None]:
    if splits is None:
        return [split]
    several = [name.strip() for name in splits.split(",") if name.strip()]
    if split is not None or not several or len(set(several)) != len(several):
        raise InputError(f"--splits {splits}: expected different names separated by commas, and no --split beside them")
    return several


def _pack(text: str) -> int | None:
    if text != "auto" and not (text.isdigit() and int(text) > 0):
        raise InputError(f"--pack {text}: expected auto, or a number of trials")
    return None if text == "auto" else int(text)


def _trials(text: str | None, default: list[int]) -> list[int]:
    if text is None:
        return default
    parts = text.split(",")
    if len(parts) != len(default) or not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise InputError(
            f"--trials {text}: expected {len(default)} numbers above 0 (one a stage), as in "
            f"{','.join(map(str, default))}"
        )
    return [int(part) for part in parts]


def _run(search: "Search", address: str | None, concurrent: int | None, as_json: bool) -> None:
    from platform import runtime
    from platform.report.selection import best_folders
    from platform.search.execution import Resources
    from platform.search.progress import JsonWatch, LiveWatch
    from platform.search.validation import validated_on
    from platform.tracking.environment import environment_tags
    from platform.tracking.record import Tracker
    from platform.tracking.store import StoreUnavailable, ui_command
    from platform.training.trainable import read_outcomes

    asked, home, grounds = search.options, search.folder.parent, validated_on(search.folds)
    if not as_json:
        trials = " + ".join(map(str, asked.trials))
        cli.console.print(
            f"{asked.method} on {asked.problem.dataset.name}, split {', '.join(asked.splits)}: {trials} trials"
        )
        cli.console.print(
            f"features {options.feature_tag(asked.problem)}, class text {options.text_tag(asked.problem)}"
        )
        if asked.space:
            cli.console.print(f"space {asked.space}", soft_wrap=True, highlight=False, markup=False)
        cli.console.print(f"folder {search.folder}", soft_wrap=True)
        if Dataset(asked.problem.dataset).card.simulated:
            cli.console.print("[bold]The data are simulated[/bold]: numbers show that things work, not how well.")
        cli.console.print(grounds, soft_wrap=True, highlight=False, markup=False)
    options.say_extractor(asked.problem, asked.splits, as_json)
    tracker = Tracker(home, "unseen")
    tracker.parent(
        asked.name,
        asked.name,
        {"method": asked.method, **asked.model_dump(mode="json", include=_SHOWN)},
        {**environment_tags(), **_tags(search), **options.extractor_tags(asked.problem, asked.splits)},
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
        runtime.connect(address)
        cpus, gpus = runtime.resources()
        share = asked.gpus if asked.gpus is not None else min(0.25, gpus)
        resources = Resources(asked.cpus, share, concurrent)
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
        kinds = options.extractor_kinds(asked.problem, asked.splits)
        _show(report, ui_command(home), [outcome.counts for outcome in tested], kinds)


def _named(chosen: "Chosen") -> str:
    """The best trial, and how far validation tells it from the others."""
    others = f"{chosen.equals} other{'s are' if chosen.equals > 1 else ' is'} as good by the folds' standard error"
    said = [others] if chosen.equals else []
    return (
        " (".join([chosen.best_key, "; ".join([*said, *chosen.notes])]) + ")"
        if said or chosen.notes
        else chosen.best_key
    )


def _show(report: "Report", ui: str, counts: Sequence[Mapping[str, int]], extractor: Sequence[str]) -> None:
    from platform.report.tests import test_table
    from platform.search.progress import leaderboard

    for split, chosen in (report.by_split or {"": report}).items():
        shown = leaderboard(chosen.leaders[:10], report.fields, chosen.front, chosen.validated_on, split)
        cli.console.print(shown)
    ends = f"{report.trials} trials, {report.stopped} stopped early, {report.failed} failed"
    best = [f"that of {split} is {_named(chosen)}" for split, chosen in report.by_split.items()]
    cli.console.print(f"{ends}; the best {', '.join(best) or f'is {_named(report)}'}", soft_wrap=True)
    cli.console.print(test_table(report.tests, counts, extractor))
    if report.selection:
        cli.console.print(f"{report.selection}: what is tested there is no clean number", soft_wrap=True, markup=False)
    cli.console.print(f"\nCompare the runs in MLflow: {ui}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    cli.run(app, "platform.tune")
