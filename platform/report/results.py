"""Results, one for each test and protocol, read from run folders or from the MLflow store."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platform.datasets.folder import Dataset
from platform.errors import InputError
from platform.report.data_identity import Data
from platform.report.selection import TOGETHER, best_folders, chosen_together
from platform.tracking.finished import all_runs, value_of
from platform.tracking.outcome import COUNTS
from platform.tracking.record import PARENT_TAG, SEARCH_TAG
from platform.tracking.store import open_store
from platform.training.protocols import ProtocolOptions
from platform.training.trainable import Experiment, read_ensembles, read_outcomes
from platform.zeroshot.problem import ProblemOptions

if TYPE_CHECKING:
    from mlflow.entities import Run

PROTOCOLS = ("clean", "released")
FEW_SHOT_TAG = "few_shot"  # on the runs of `platform.few_shot`: with which fields the models went on


@dataclass(frozen=True)
class Result:
    """One model's test under one protocol.

    kind: `single`, or an ensemble, as `ensemble of 3 seeds`; metrics: accuracies in [0, 1]; searched:
    whether a search chose the configuration; run: of `train` or `tune`; started: in seconds since 1970; model: its
    folder, or where MLflow keeps it, empty where it was not kept; row: its name in an ablation's table; selection: the
    warning where its search chose one configuration on several splits; counts: of classes and samples, as an `Outcome`
    has them; of an older run only the classes that its tags name; validation: as `ProtocolOptions.validation` says it,
    empty where it was not recorded.
    """

    method: str
    data: Data
    protocol: str
    kind: str
    seed: int
    metrics: Mapping[str, float]
    config: Mapping[str, Any] = field(hash=False)
    searched: bool
    run: str
    started: float
    model: str = ""
    row: str = ""
    selection: str = ""
    counts: Mapping[str, int] = field(default_factory=dict, hash=False)
    validation: str = ""


def results_of_folders(paths: Iterable[Path]) -> list[Result]:
    """The tests in run folders of `train` and `tune`, and in folders of such runs.

    Raises InputError where a folder holds no run.
    """
    found: list[Result] = []
    for path in paths:
        own = _of_folder(path)
        if own is None:
            below = [_of_folder(p) for p in sorted(path.iterdir()) if p.is_dir()] if path.is_dir() else []
            if all(results is None for results in below):
                raise InputError(f"{path}: no run stands there; give a folder of `train` or `tune`, or one of runs")
            own = [result for results in below for result in results or ()]
        found += own
    return found


def results_of_store(home: Path, names: Sequence[str] = (), few_shot: bool = False) -> list[Result]:
    """The tests in the MLflow store of `home` (or MLFLOW_TRACKING_URI): of runs or experiments of these names, or all.

    few_shot: those of `platform.few_shot`, which are of models after a few samples, in place of all others.
    Raises InputError where the store cannot be opened or a name is not there.
    """
    client = open_store(home)
    experiments = {e.experiment_id: e.name for e in client.search_experiments()}
    runs = list(all_runs(client, list(experiments)))
    parents = {run.info.run_id: run for run in runs if PARENT_TAG not in run.data.tags}
    for name in names:
        if all(name not in (run.info.run_name, experiments[run.info.experiment_id]) for run in parents.values()):
            raise InputError(f"the MLflow store has no experiment and no run of its own named `{name}`")
    found = []
    for run in runs:
        parent = parents.get(run.data.tags.get(SEARCH_TAG, ""))
        if parent is None or run.info.status != "FINISHED":
            continue
        if (FEW_SHOT_TAG in run.data.tags) != few_shot:
            continue
        if names and not {parent.info.run_name, experiments[run.info.experiment_id]} & set(names):
            continue
        found += _of_run(run, parent)
    return found


def validation_curves(result: Result, home: Path, names: Sequence[str]) -> dict[str, list[float]]:
    """Some of validation's metrics, epoch by epoch, where they were recorded. home: of the store."""
    if result.model.startswith("runs:/"):
        client, run = open_store(home), result.model.removeprefix("runs:/")
        histories = {name: client.get_metric_history(run, f"validation/epoch/{name}") for name in names}
        return {n: [m.value for m in sorted(own, key=lambda m: m.step)] for n, own in histories.items() if own}
    outcomes = read_outcomes(Path(result.model).parent.parent) or ()
    epochs = next((o.epochs for o in outcomes if (o.split, o.seed) == (result.data.split, result.seed)), ())
    return {name: [e[name] for e in epochs] for name in names if epochs and name in epochs[0]}


def latest(results: Sequence[Result]) -> tuple[list[Result], list[str]]:
    """The latest run of each method on each split, and the older runs that are left out.

    Runs without a search are also told apart by their configuration.
    """
    newest: dict[tuple, Result] = {}
    for result in results:
        key = _place(result)
        if key not in newest or newest[key].started < result.started:
            newest[key] = result
    chosen = {key: result.run for key, result in newest.items()}
    kept, _ = once([result for result in results if chosen[_place(result)] == result.run])
    return kept, sorted({r.run for r in results} - {r.run for r in kept})


def once(results: Sequence[Result]) -> tuple[list[Result], list[str]]:
    """The results without those that a later test repeats, and the runs of which some are left out.

    A repeated test has the same method, data, protocol, kind, seed and configuration. What one search chose is no
    repetition of what another chose; but a run that stands twice in the store is one.
    """
    newest: dict[tuple, Result] = {}
    for result in results:
        key = _test(result)
        if key not in newest or newest[key].started <= result.started:
            newest[key] = result
    kept = list(newest.values())
    return kept, sorted({r.run for r in results if newest[_test(r)] is not r} - {r.run for r in kept})


def searches_apart(results: Sequence[Result]) -> list[Result]:
    """The results, where several searches of one method on the same data are rows named by their runs."""
    searches: dict[tuple, set[str]] = {}
    for r in results:
        if r.searched:
            searches.setdefault((r.method, r.data), set()).add(r.run)
    several = {key for key, runs in searches.items() if len(runs) > 1}
    methods = {method for method, _ in several}
    return [
        replace(r, row=f"{r.method.rpartition('.')[2]} ({r.run})") if r.searched and r.method in methods else r
        for r in results
    ]


def _place(result: Result) -> tuple:
    return result.method, result.data, result.searched, "" if result.searched else _configured(result)


def _test(result: Result) -> tuple:
    which = result.run if result.searched else ""
    return (*_place(result), _configured(result), which, result.protocol, result.kind, result.seed)


def _configured(result: Result) -> str:
    return json.dumps(dict(result.config), sort_keys=True, default=str)


def run_of_folder(folder: Path) -> tuple[str, ProblemOptions, Mapping[str, Any]]:
    """A run folder's method, data and tested configuration (the first split's, where there are several).

    Raises InputError where it tested none.
    """
    run = _run(folder)
    outcomes = read_outcomes(run.tested[0]) if run else None
    if not outcomes:
        raise InputError(f"{folder}: no finished run of `train` or `tune` stands there")
    return run.method, run.problem, outcomes[0].config


@dataclass(frozen=True)
class _Run:
    method: str
    problem: ProblemOptions
    tested: list[Path]  # folders of its outcomes
    searched: bool
    validation: str
    together: Sequence[str] = ()  # splits on which one configuration was chosen


def _run(folder: Path) -> _Run | None:
    """None where no run stands there."""
    if (folder / "search.json").exists():
        asked = json.loads((folder / "search.json").read_text())
        problem, splits, select = ProblemOptions(**asked["problem"]), asked["splits"], asked.get("select", "together")
        tested = [folder / "best" / name / "0" for name in best_folders(select, splits)]
        validation = ProtocolOptions(**asked["protocol"]).validation if "protocol" in asked else ""
        return _Run(asked["method"], problem, tested, True, validation, splits if select == "together" else ())
    if (folder / "experiment.json").exists():
        experiment = Experiment.model_validate_json((folder / "experiment.json").read_bytes())
        return _Run(experiment.method, experiment.problem, [folder], False, experiment.protocol.validation)
    return None


def _of_folder(folder: Path) -> list[Result] | None:
    """None where no run stands there."""
    if (run := _run(folder)) is None:
        return None
    return [result for tested in run.tested for result in _of_tests(run, tested, folder.name)]


def _of_tests(run: _Run, tested: Path, name: str) -> list[Result]:
    """The results in a folder of tests; none where it is unfinished. name: of the run."""
    outcomes = read_outcomes(tested)
    if outcomes is None:
        return []
    selection = chosen_together(Dataset(run.problem.dataset), run.together) if len(run.together) > 1 else ""
    data = {split: Data.of(run.problem, split) for split in {o.split for o in outcomes}}
    started = (tested / "outcomes.json").stat().st_mtime
    return [
        Result(
            method=run.method,
            data=data[outcome.split],
            protocol=protocol,
            kind=outcome.kind,
            seed=outcome.seed,
            metrics=metrics,
            config=outcome.config,
            searched=run.searched,
            run=name,
            started=started,
            model=str(tested / outcome.models[protocol]) if protocol in outcome.models else "",
            selection=selection,
            counts=outcome.counts or _counts_of(data[outcome.split]),
            validation=run.validation,
        )
        for outcome in [*outcomes, *read_ensembles(tested)]
        for protocol, metrics in outcome.test.items()
    ]


def _counts_of(data: Data) -> dict[str, int]:
    """Counts from `22/5`, for runs that recorded the classes alone."""
    seen, _, unseen = data.classes.partition("/")
    return {"seen": int(seen), "unseen": int(unseen)} if seen.isdigit() and unseen.isdigit() else {}


def _of_run(run: "Run", parent: "Run") -> list[Result]:
    """The tests in a run of the store; a trial has none."""
    tags, params = parent.data.tags, run.data.params
    method = tags.get("method") or parent.data.params.get("method", "")
    tested: dict[str, dict[str, float]] = {}
    for name, value in run.data.metrics.items():
        protocol, _, metric = name.partition("/")
        if protocol in PROTOCOLS and "/" not in metric:
            tested.setdefault(protocol, {})[metric] = value
    together = run.data.tags.get("ensemble", "")
    config = {name: value_of(text) for name, text in params.items() if name not in ("seed", "split")}
    searched = "trials" in parent.data.params
    data = Data.of_tags(tags, params.get("split", ""))
    counts = {n.removeprefix(COUNTS): int(v) for n, v in run.data.tags.items() if n.startswith(COUNTS)}
    return [
        Result(
            method=method,
            data=data,
            protocol=protocol,
            kind=f"ensemble of {together}" if together else "single",
            seed=int(params.get("seed", 0)),
            metrics=metrics,
            config=config,
            searched=searched,
            run=parent.info.run_name,
            started=parent.info.start_time / 1000,
            model=f"runs:/{run.info.run_id}",
            selection=_selection(tags) if searched else "",
            counts=counts or _counts_of(data),
            validation=tags.get("validation", ""),
        )
        for protocol, metrics in tested.items()
    ]


def _selection(tags: Mapping[str, str]) -> str:
    """The note in a search's run on a choice over several splits."""
    if "selection" not in tags and ", " in tags.get("data.split", ""):
        return f"{TOGETHER}, and how many of a split's unseen classes are seen in another was not recorded"
    return tags["selection"] if tags.get("selection", "").startswith(TOGETHER) else ""
