"""Search a method's hyperparameters, then test the best configuration: `python -m platform.tune methods.sadvae`."""

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from platform import cli, options
from platform.datasets.folder import Dataset
from platform.errors import InputError

if TYPE_CHECKING:
    from platform.search.search import Report, Search

app = cli.application(__doc__)


@app.command(no_args_is_help=True)
def tune(
    context: typer.Context,
    method: Annotated[str | None, typer.Argument(help="module of the method, such as methods.sadvae")] = None,
    dataset: options.DatasetFolder = None,
    split: options.Split = None,
    features: options.Features = None,
    encoder: options.Encoder = "minilm",
    text: options.Text = "name",
    combine: options.Combine = "mean",
    normalise: options.Normalise = None,
    space: Annotated[
        Path | None, typer.Option(help="search-space file; METHOD.yaml of search_spaces if absent")
    ] = None,
    trials: Annotated[str | None, typer.Option(help="trials of each stage, as in 5,100; the file's if absent")] = None,
    sampler: Annotated[str | None, typer.Option(help="random, tpe, gp, cmaes, qmc or nsgaii; the file's")] = None,
    assigned: options.Assignments = None,
    preset: options.Preset = None,
    seed: Annotated[int, typer.Option(min=0, help="names every random draw of the search")] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="seeds with which the best configuration is tested")] = 3,
    folds: options.Folds = 1,
    protocol: options.Protocol = "both",
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
        problem = options.problem_options(dataset, split, features, encoder, text, combine, normalise)
        search = _created(
            runs,
            method,
            space,
            trials,
            sampler,
            options.base_values(method, preset, assigned),
            small=dataset is None,
            problem=problem,
            protocol=options.protocol_options(protocol, folds),
            seed=seed,
            test_seeds=seeds,
            cpus=cpus,
            gpus=gpus,
            device=device,
        )
    from platform.training.checkpoints import held

    with held(search.folder):
        _run(search, address, concurrent, as_json)


def _created(
    runs: Path,
    method: str,
    space_file: Path | None,
    trials: str | None,
    sampler: str | None,
    base: Mapping[str, Any],
    small: bool,
    **asked: Any,
) -> "Search":
    """A new search's folder. Everything that a user can get wrong is checked before it is made."""
    from platform.method import load_method
    from platform.runtime import ROOT
    from platform.search.samplers import check_sampler
    from platform.search.search import Search, SearchOptions
    from platform.search.space import read_space
    from platform.training.devices import device_of
    from platform.zeroshot.problem import load_problem

    name = method.rpartition(".")[2] + ("_small" if small else "")
    space_file = space_file or ROOT / "search_spaces" / f"{name}.yaml"
    space = read_space(space_file, load_method(method).Config)
    for stage in space.stages:
        if fixed_twice := sorted(set(base) & set(stage.sampled)):
            raise InputError(
                f"{fixed_twice[0]}: stage `{stage.name}` of {space_file.name} samples it; use another --space"
            )
    check_sampler(sampler or space.sampler)
    device_of(asked["device"])
    counts = _trials(trials, [stage.trials for stage in space.stages])
    load_problem(asked["problem"])  # the class text is encoded here, once, and trials read it from the folder
    folder = options.run_folder(runs, "tune", method, asked["problem"].dataset.name)
    search_options = SearchOptions(
        name=folder.name, method=method, base=dict(base), trials=counts, sampler=sampler or space.sampler, **asked
    )
    return Search.create(folder, search_options, space_file)


def _trials(text: str | None, default: list[int]) -> list[int]:
    if text is None:
        return default
    parts = text.split(",")
    if len(parts) != len(default) or not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise InputError(
            f"--trials {text}: expected {len(default)} numbers, one a stage, as in {','.join(map(str, default))}"
        )
    return [int(part) for part in parts]


def _run(search: "Search", address: str | None, concurrent: int | None, as_json: bool) -> None:
    from platform import runtime
    from platform.search.execution import Resources
    from platform.search.progress import JsonWatch, LiveWatch
    from platform.tracking.environment import environment_tags
    from platform.tracking.record import Tracker
    from platform.tracking.store import ui_command

    asked, home = search.options, search.folder.parent
    if not as_json:
        trials = " + ".join(map(str, asked.trials))
        cli.console.print(
            f"{asked.method} on {asked.problem.dataset.name}, split {asked.problem.split}: {trials} trials"
        )
        cli.console.print(f"folder {search.folder}", soft_wrap=True)
        if Dataset(asked.problem.dataset).card.simulated:
            cli.console.print("[bold]The data are simulated[/bold]: numbers show that things work, not how well.")
    tracker = Tracker(home, "unseen")
    tracker.parent(
        asked.name,
        asked.name,
        {"method": asked.method, **asked.model_dump(mode="json", include={"trials", "sampler", "seed", "base"})},
        {**environment_tags(), **options.data_tags(asked.problem)},
        [search.folder / "space.yaml", asked.problem.dataset / "dataset.json"],
    )
    resume = f"python -m platform.tune --resume {search.folder}"
    watch = JsonWatch() if as_json else LiveWatch(cli.console, search.space.metric, search.space.mode == "max")
    try:
        runtime.connect(address)
        cpus, gpus = runtime.resources()
        share = asked.gpus if asked.gpus is not None else min(0.25, gpus)
        resources = Resources(asked.cpus, share, concurrent)
        report = search.run(tracker, watch, resources, resources.fitting(cpus, gpus))
    except KeyboardInterrupt:
        watch.close()
        tracker.close_orphans()
        tracker.finish("KILLED")
        cli.stopped(resume)
    except BaseException:
        watch.close()
        tracker.finish("FAILED")
        cli.say(f"go on with: {resume}")
        raise
    watch.close()
    if as_json:
        cli.event("report", report.model_dump())
    else:
        _show(report, ui_command(home))


def _show(report: "Report", ui: str) -> None:
    from platform.search.progress import leaderboard

    cli.console.print(leaderboard(report.leaders[:10], report.fields))
    cli.console.print(f"{report.trials} trials, {report.failed} failed; the best is {report.best_key}")
    cli.console.print(test_table(report.tests))
    cli.console.print(f"\nCompare the runs in MLflow: {ui}", soft_wrap=True, highlight=False)


def test_table(tests: Mapping[str, Mapping[str, list[float]]]) -> Table:
    """Each protocol's test metrics, mean and standard deviation over seeds, in percent."""
    columns = {
        "zsl": "ZSL",
        "zsl_per_sample": "ZSL per sample",
        "seen": "s",
        "unseen": "u",
        "harmonic_mean": "H",
        "ausuc": "AUSUC",
    }
    table = Table(title="test, %, mean ± standard deviation over seeds", title_justify="left")
    table.add_column("protocol")
    for heading in columns.values():
        table.add_column(heading, justify="right")
    for protocol, metrics in tests.items():
        shown = [[100 * value for value in metrics[name]] for name in columns]
        cells = [f"{statistics.mean(v):.1f}" + (f" ± {statistics.stdev(v):.1f}" if len(v) > 1 else "") for v in shown]
        table.add_row(protocol, *cells)
    if "released" in tests:
        table.caption = "released: the papers' code chooses the epoch on the unseen test classes themselves; it leaks"
    return table


if __name__ == "__main__":
    cli.run(app, "platform.tune")
