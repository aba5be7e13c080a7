"""Trials of earlier searches in the MLflow store."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from platform.errors import InputError
from platform.tracking.record import PARENT_TAG
from platform.tracking.store import open_store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def finished_trials(home: Path, name: str) -> "list[tuple[Run, list[Run]]]":
    """Searches' own runs, and the runs of their trials that finished: in the experiment `name`, or of the run so named.

    Raises InputError where there is no such experiment or search.
    """
    client = open_store(home)
    experiments = {e.experiment_id: e.name for e in client.search_experiments()}
    runs = list(all_runs(client, list(experiments)))
    named = [
        run
        for run in runs
        if PARENT_TAG not in run.data.tags and name in (run.info.run_name, experiments[run.info.experiment_id])
    ]
    if not named:
        raise InputError(f"no search's folder, MLflow experiment or run in {home} is named `{name}`")
    trials: dict[str, list[Run]] = {run.info.run_id: [] for run in named}
    for run in runs:
        is_test = any(metric.startswith("clean/") for metric in run.data.metrics)  # the test of the best is no trial
        if run.data.tags.get("outcome") == "finished" and not is_test:
            trials.get(run.data.tags.get(PARENT_TAG, ""), []).append(run)
    return [(run, trials[run.info.run_id]) for run in named]


def all_runs(client: "MlflowClient", experiments: list[str]) -> "Iterator[Run]":
    token = None
    while True:
        page = client.search_runs(experiments, order_by=["attributes.start_time ASC"], page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def value_of(text: str) -> str | int | float | bool:
    """Parse a parameter: MLflow stores all of them as text."""
    if text in ("True", "False"):
        return text == "True"
    try:
        return TypeAdapter(int | float).validate_python(json.loads(text))
    except ValueError:
        return text
