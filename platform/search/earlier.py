"""Trials of an earlier search, from its folder or from MLflow, for a sampler to learn from."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from platform.errors import InputError
from platform.search.space import METRICS
from platform.search.study import Earlier
from platform.tracking.finished import finished_trials, value_of
from platform.tracking.record import PARENT_TAG
from platform.training.trainable import Outcome, read_outcomes

if TYPE_CHECKING:
    from mlflow.entities import Run


def earlier_trials(name: str, runs: Path, wanted: Mapping[str, str]) -> list[Earlier]:
    """name: a search's folder, or else an experiment or a search's run in the MLflow store of `runs`.

    wanted: tags that searches found in MLflow must have, since metrics on other data cannot be compared. Raises
    InputError where there is neither, or nothing that finished in it.
    """
    folder = Path(name)
    if folder.is_dir():
        if not (folder / "search.json").exists():
            raise InputError(f"--warm-start {name}: no search stands there (it has no search.json)")
        trials = [_of_folder(path.parent) for path in sorted(folder.glob("trials/*/outcomes.json"))]
    else:
        trials = [_of_run(run) for run in finished_trials(runs, name, wanted)]
    sound = [trial for trial in trials if trial is not None]
    if not sound:
        raise InputError(f"--warm-start {name}: no finished trial was found there")
    return sound


def _of_folder(folder: Path) -> Earlier | None:
    outcomes = read_outcomes(folder)
    if any(o.status != "finished" for o in outcomes):
        return None
    return Earlier(f"{folder.parent.parent.name}/{folder.name}", outcomes[0].config, _mean(outcomes))


def _mean(outcomes: list[Outcome]) -> dict[str, float]:
    return {name: sum(o.validation[name] for o in outcomes) / len(outcomes) for name in outcomes[0].validation}


def _of_run(run: "Run") -> Earlier:
    metrics = {m: run.data.metrics[f"validation/{m}"] for m in METRICS if f"validation/{m}" in run.data.metrics}
    name = f"{run.data.tags[PARENT_TAG]}/{run.info.run_name}"
    return Earlier(name, {field: value_of(text) for field, text in run.data.params.items()}, metrics)
