"""Trials of an earlier search, from its folder or from MLflow, for a sampler to learn from."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from platform.errors import InputError
from platform.search.ranking import mean_and_spread
from platform.search.search import SearchOptions
from platform.search.space import METRICS
from platform.search.study import Earlier
from platform.setup import ProblemData
from platform.tracking.finished import finished_trials, value_of
from platform.tracking.record import PARENT_TAG
from platform.training.protocols import ProtocolOptions
from platform.training.trainable import read_outcomes

if TYPE_CHECKING:
    from mlflow.entities import Run

_COMPARED = {
    "method": "method",
    "data.name": "data set",
    "data.checksum": "checksum of the data set's card",
    "data.split": "class splits",
    "data.features": "features",
    "data.text": "class text",
    "data.combined": "combination of class texts",
    "validation": "validation",
}


def compared_tags(method: str, data: ProblemData, protocol: ProtocolOptions) -> dict[str, str]:
    """What two searches must have in common for their trials to be comparable, as stored in MLflow and the folder."""
    found = {
        **data.tags(),
        "method": method,
        "data.combined": data.problem.text.combine,
        "validation": protocol.validation,
    }
    return {name: found[name] for name in _COMPARED}


def earlier_trials(name: str, runs: Path, wanted: Mapping[str, str], say: Callable[[str], None]) -> list[Earlier]:
    """name: a search's folder, or else an experiment or a search's run in the MLflow store of `runs`.

    wanted: `compared_tags` of the new search. Raises InputError where there is neither, where no trial finished in it,
    or where its tags differ: its metrics were measured on something else. Of an experiment's searches, those that
    differ are left out, which is reported through `say`.
    """
    folder = Path(name)
    searches = [_of_folder(folder)] if folder.is_dir() else _of_store(runs, name)
    sound = [(found, trials) for found, trials in searches if trials]
    if not sound:
        raise InputError(f"--warm-start {name}: no finished trial was found there")
    alike = [trials for found, trials in sound if not _difference(wanted, found)]
    different = [difference for found, _ in sound if (difference := _difference(wanted, found))]
    if not alike:
        raise InputError(f"--warm-start {name}: its trials cannot be compared with this search's: {different[-1]}")
    if different:
        say(f"--warm-start {name}: {len(different)} of {len(sound)} searches are left out, as {different[-1]}")
    return [trial for trials in alike for trial in trials]


def _difference(wanted: Mapping[str, str], found: Mapping[str, str]) -> str:
    """The differences; empty where there are none. Only recorded tags are compared: earlier versions recorded fewer."""
    said = [
        f"{words} `{found[name]}`, not `{wanted[name]}`"
        for name, words in _COMPARED.items()
        if name in found and name in wanted and _parts(found[name]) != _parts(wanted[name])
    ]
    return "; ".join(said)


def _parts(text: str) -> list[str]:
    """Splits may have been named in another order."""
    return sorted(text.split(", "))


def _of_folder(folder: Path) -> tuple[Mapping[str, str], list[Earlier]]:
    path = folder / "search.json"
    if not path.exists():
        raise InputError(f"--warm-start {folder}: no search stands there (it has no search.json)")
    try:
        asked = SearchOptions.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise InputError(
            f"--warm-start {folder}: its search.json is no search's ({error.errors()[0]['msg']})"
        ) from error
    try:
        compared = asked.compared or _as_asked(asked)
    except InputError as error:
        raise InputError(f"--warm-start {folder}: its data cannot be compared: {error}") from error
    trials = [_of_trial(path.parent) for path in sorted(folder.glob("trials/*/outcomes.json"))]
    return compared, [trial for trial in trials if trial is not None]


def _as_asked(asked: SearchOptions) -> dict[str, str]:
    """The tags of a search that did not write them: from its options and the present data folder."""
    found = compared_tags(asked.method, ProblemData.of(asked.problem, asked.splits), asked.protocol)
    return {name: text for name, text in found.items() if name != "data.checksum"}


def _of_trial(folder: Path) -> Earlier | None:
    outcomes = read_outcomes(folder)
    if any(o.status != "finished" for o in outcomes):
        return None
    return Earlier(f"{folder.parent.parent.name}/{folder.name}", outcomes[0].config, mean_and_spread(outcomes)[0])


def _of_store(runs: Path, name: str) -> list[tuple[Mapping[str, str], list[Earlier]]]:
    return [(run.data.tags, [_of_run(trial) for trial in trials]) for run, trials in finished_trials(runs, name)]


def _of_run(run: "Run") -> Earlier:
    metrics = {m: run.data.metrics[f"validation/{m}"] for m in METRICS if f"validation/{m}" in run.data.metrics}
    name = f"{run.data.tags[PARENT_TAG]}/{run.info.run_name}"
    return Earlier(name, {field: value_of(text) for field, text in run.data.params.items()}, metrics)
