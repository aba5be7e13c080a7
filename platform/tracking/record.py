"""Runs in MLflow: a parent for the search, a child for each configuration, identified by a key.

Every call is idempotent: repeated after a kill, it completes what is there. A run is created with its key in one step,
then filled with what it lacks, and ended last.
"""

import csv
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from platform.tracking.limits import (
    METRICS_PER_BATCH,
    PARAM_LENGTH,
    PARAMS_PER_BATCH,
    TAG_LENGTH,
    TAGS_PER_BATCH,
    clean_names,
    clip,
)
from platform.tracking.store import open_experiment, open_store, retried

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run

KEY_TAG = "unseen.key"
PARENT_TAG = "mlflow.parentRunId"  # MLflow's UI nests runs by it
_TABLES_TAG = "mlflow.loggedArtifacts"  # MLflow's UI shows, and compares, what it names
SEARCH_TAG = "unseen.search"  # on every run below the search's: the id of the search's run
_LARGEST = 1.7976931348623157e308  # MLflow stores infinity as this

Status = Literal["FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True)
class RunRecord:
    """The record of a configuration that has ended.

    key: unique within the search, the same after a restart; epochs: each with its number under "epoch"; metrics: the
    final ones, stored at the last epoch's step; artifacts: files and folders; members: runs below this one; tables: CSV
    files with a heading, by name, that MLflow's UI shows as tables, beside those of other runs with the same name.
    """

    key: str
    name: str
    params: Mapping[str, object]
    epochs: Sequence[Mapping[str, float]]
    metrics: Mapping[str, float]
    status: Status
    tags: Mapping[str, str]
    artifacts: Sequence[Path] = ()
    members: "Sequence[RunRecord]" = ()
    tables: Mapping[str, Path] = field(default_factory=dict)


class Tracker:
    """Writes one search. Names and lengths are made to fit MLflow; where the store is down, calls wait for it a while.

    Params are immutable in MLflow: one that is stored keeps its first value. Raises StoreUnavailable (see store.py).
    """

    def __init__(self, home: Path, experiment: str) -> None:
        """Open the store under `home`, make database and experiment. Raises InputError where that fails."""
        self._client = open_store(home)
        self._experiment = retried(open_experiment)(self._client, home, experiment)
        self._parent: str | None = None

    @retried
    def parent(
        self,
        key: str,
        name: str,
        params: Mapping[str, object],
        tags: Mapping[str, str],
        artifacts: Sequence[Path] = (),
    ) -> None:
        """Start the search's own run, or resume the one with that key."""
        run = self._find(key, parent=None) or self._create(key, name, {})
        self._parent = run.info.run_id
        if run.info.status != "RUNNING":
            self._client.update_run(run.info.run_id, status="RUNNING")
        self._write(run, params, [], tags, artifacts)

    @retried
    def child(self, record: RunRecord) -> None:
        """Write a configuration's run. One that has FINISHED is left as it is; any other of its key is completed."""
        self._below(self._parent_id(), record)

    @retried
    def tag(self, key: str, tags: Mapping[str, str]) -> None:
        """Set tags of a configuration's run that become known later."""
        run = self._find(key, self._parent_id())
        if run is not None:
            self._write(run, {}, [], tags, ())

    @retried
    def finish(
        self, status: Status, metrics: Mapping[str, float] | None = None, artifacts: Sequence[Path] = ()
    ) -> None:
        """End the search's own run."""
        run = self._client.get_run(self._parent_id())
        self._write(run, {}, _points([], metrics or {}), {}, artifacts)
        self._client.set_terminated(run.info.run_id, status)

    @retried
    def close_orphans(self, status: Status = "KILLED") -> None:
        """End every run below the search's that is still RUNNING: its writer was killed."""
        condition = f"tags.`{SEARCH_TAG}` = '{self._parent_id()}' and attributes.status = 'RUNNING'"
        for run in list(self._search(condition)):
            self._client.set_terminated(run.info.run_id, status)

    @retried
    def child_keys(self) -> set[str]:
        """The keys of the children that have FINISHED."""
        condition = f"tags.`{PARENT_TAG}` = '{self._parent_id()}' and attributes.status = 'FINISHED'"
        return {run.data.tags[KEY_TAG] for run in self._search(condition)}

    def _below(self, parent: str, record: RunRecord) -> None:
        run = self._find(record.key, parent)
        if run is not None and run.info.status == "FINISHED":
            return
        if run is None:
            run = self._create(record.key, record.name, {PARENT_TAG: parent, SEARCH_TAG: self._parent_id()})
        for member in record.members:  # before the run ends, since an ended run counts as complete
            self._below(run.info.run_id, member)
        self._write(run, record.params, _points(record.epochs, record.metrics), record.tags, record.artifacts)
        self._write_tables(run.info.run_id, record.tables)
        self._client.set_terminated(run.info.run_id, record.status)

    def _parent_id(self) -> str:
        if self._parent is None:
            raise RuntimeError("start the search's own run first: Tracker.parent")
        return self._parent

    def _find(self, key: str, parent: str | None) -> "Run | None":
        if "'" in key:
            raise ValueError(f"the key {key} holds a quote, which MLflow's search cannot find again")
        condition = f"tags.`{KEY_TAG}` = '{key}'" + (f" and tags.`{PARENT_TAG}` = '{parent}'" if parent else "")
        return next((run for run in self._search(condition) if run.data.tags.get(PARENT_TAG) == parent), None)

    def _search(self, condition: str) -> "Iterator[Run]":
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment], condition, order_by=["attributes.start_time ASC"], page_token=token
            )
            yield from page
            token = page.token
            if not token:
                return

    def _create(self, key: str, name: str, tags: Mapping[str, str]) -> "Run":
        return self._client.create_run(self._experiment, run_name=name, tags={**tags, KEY_TAG: key})

    def _write(
        self,
        run: "Run",
        params: Mapping[str, object],
        points: "Sequence[Metric]",
        tags: Mapping[str, str],
        artifacts: Sequence[Path],
    ) -> None:
        """Add to a run what it lacks."""
        from mlflow.entities import Param, RunTag

        run_id = run.info.run_id
        stored = {_identity(m) for name in run.data.metrics for m in self._client.get_metric_history(run_id, name)}
        metrics = [m for m in points if _identity(m) not in stored]
        new_params = [
            Param(name, clip(value, PARAM_LENGTH))
            for name, value in clean_names(params).items()
            if name not in run.data.params
        ]
        run_tags = [RunTag(name, clip(value, TAG_LENGTH)) for name, value in clean_names(tags).items()]
        while metrics or new_params or run_tags:
            self._client.log_batch(
                run_id, metrics[:METRICS_PER_BATCH], new_params[:PARAMS_PER_BATCH], run_tags[:TAGS_PER_BATCH]
            )
            del metrics[:METRICS_PER_BATCH], new_params[:PARAMS_PER_BATCH], run_tags[:TAGS_PER_BATCH]
        for path in artifacts:
            if path.is_dir():
                self._client.log_artifacts(run_id, str(path), artifact_path=path.name)
            else:
                self._client.log_artifact(run_id, str(path))

    def _write_tables(self, run_id: str, tables: Mapping[str, Path]) -> None:
        """As MLflow's own log_table does, which would add the rows again where it is repeated."""
        for name, path in tables.items():
            with path.open(newline="", encoding="utf-8") as file:
                columns, *rows = csv.reader(file)
            self._client.log_dict(run_id, {"columns": columns, "data": rows}, f"{name}.json")
        if tables:
            said = [{"path": f"{name}.json", "type": "table"} for name in tables]
            self._client.set_tag(run_id, _TABLES_TAG, json.dumps(said))


def _points(epochs: Sequence[Mapping[str, float]], metrics: Mapping[str, float]) -> "list[Metric]":
    from mlflow.entities import Metric

    now = time.time_ns() // 1_000_000
    points = [
        Metric(name, float(value), now, int(epoch["epoch"]))
        for epoch in epochs
        for name, value in clean_names(epoch).items()
        if name != "epoch"
    ]
    last = int(epochs[-1]["epoch"]) if epochs else 0
    # a moment later, so that a final value supersedes an epoch's value of the same name
    return points + [Metric(name, float(value), now + 1, last) for name, value in clean_names(metrics).items()]


def _identity(metric: "Metric") -> tuple[str, int, str]:
    """Equal for a point and what MLflow returns for it."""
    return metric.key, metric.step, str(min(max(metric.value, -_LARGEST), _LARGEST))  # as text, since NaN != NaN
