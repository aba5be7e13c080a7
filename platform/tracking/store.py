"""The MLflow store: `MLFLOW_TRACKING_URI` where it is set, otherwise SQLite beside the runs.

MLflow is imported when a store is opened, since that takes two seconds.
"""

import functools
import logging
import os
import re
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar
from urllib.parse import quote

from platform.errors import InputError, Unavailable

if TYPE_CHECKING:
    from mlflow import MlflowClient

_WAITS = (1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0, 15.0, 15.0, 15.0, 15.0)  # seconds between tries, two minutes in all
_log = logging.getLogger("unseen.tracking")
_FULL = ("No space left on device", "Disk quota exceeded", "disk is full")
_PASSING = {"TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR", "REQUEST_LIMIT_EXCEEDED", "DEADLINE_EXCEEDED"}

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class StoreUnavailable(Unavailable):
    """The store is full, or failed several times in a row. The call may be repeated from the start."""


def open_store(home: Path) -> "MlflowClient":
    """A client of the store, whose database exists from now on. Raises InputError where it cannot be opened."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # where `--json` promises only events
    # no retries by MLflow: a repeated request would create a second run; `retried` looks for the first one
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    from mlflow import MlflowClient

    _hush()
    uri = _uri(home)
    try:
        if not _uri_given():
            (home / "artifacts").mkdir(parents=True, exist_ok=True)
            (home / "mlflow.db").touch()  # fails at once where MLflow would retry for minutes
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
    except Exception as error:  # MLflow, SQLAlchemy, a missing database driver: each raises its own
        reason = _without_password(str(error).splitlines()[0])
        advice = "check MLFLOW_TRACKING_URI, or unset it" if _uri_given() else "choose another folder for the runs"
        raise InputError(f"the MLflow store {_without_password(uri)} cannot be opened ({reason}); {advice}") from error
    return client


def download_model(home: Path, run: str, protocol: str, to: Path) -> Path:
    """Copy a run's model of a protocol into `to`. Raises InputError where there is none."""
    from mlflow.exceptions import MlflowException

    client = open_store(home)
    try:
        kept = [item.path for item in client.list_artifacts(run) if item.path.endswith(f"-{protocol}")]
        if kept:
            to.mkdir(parents=True)
            return Path(client.download_artifacts(run, kept[0], str(to)))
    except (MlflowException, OSError) as error:
        raise InputError(f"MLflow run {run}: its model cannot be read ({str(error).splitlines()[0]})") from error
    raise InputError(f"MLflow run {run}: keeps no model of the {protocol} protocol")


def open_experiment(client: "MlflowClient", home: Path, name: str) -> str:
    """The id of the experiment, made where there is none. Raises InputError where it has been deleted."""
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return client.create_experiment(name, artifact_location=_artifact_location(home))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            experiment = client.get_experiment_by_name(name)  # created meanwhile by another driver
    if experiment.lifecycle_stage == "deleted":
        raise InputError(f"MLflow experiment `{name}` has been deleted; restore it in MLflow, or choose another name")
    return experiment.experiment_id


def ui_command(home: Path) -> str:
    """The command that shows the store in a browser; for a tracking server, its address."""
    uri = _uri(home)
    if uri.startswith(("http://", "https://")):
        return _without_password(uri)
    # the variable's name, not its value, which may hold a password
    shown = '"$MLFLOW_TRACKING_URI"' if _uri_given() else shlex.quote(uri)
    return f"mlflow ui --backend-store-uri {shown}"


def retried(call: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Try an idempotent call again while the store is down, two minutes in all; then raise StoreUnavailable."""

    @functools.wraps(call)
    def patient(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        for tries, wait in enumerate([*_WAITS, 0.0], start=1):
            try:
                return call(*args, **kwargs)
            except Exception as error:
                if _is_full(error):
                    raise StoreUnavailable(_broken(f"cannot be written ({_reason(error)}); make room")) from error
                if not _passes(error):
                    raise
                if tries > len(_WAITS):
                    failed = f"failed {tries} times in a row ({_reason(error)}); start it again"
                    raise StoreUnavailable(_broken(failed)) from error
                if tries == 2:
                    _log.warning("the MLflow store does not answer (%s); waiting for it", _reason(error))
            time.sleep(wait)

    return patient


def _broken(how: str) -> str:
    return f"the MLflow store {how}, and go on with --resume"


def _reason(error: Exception) -> str:
    return _without_password(next(iter(str(error).splitlines()), type(error).__name__))


def _is_full(error: Exception) -> bool:
    """Whether the store's disk is full, by the wording of its error message."""
    return any(words in str(error) for words in _FULL)


def _passes(error: Exception) -> bool:
    """Whether waiting may help: a locked or restarting database, a lost connection."""
    if isinstance(error, OSError):
        return not isinstance(error, FileNotFoundError)
    return getattr(error, "error_code", None) in _PASSING


def _uri_given() -> bool:
    return bool(os.environ.get("MLFLOW_TRACKING_URI"))


def _uri(home: Path) -> str:
    path = (home / "mlflow.db").resolve().as_posix()
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{quote(path, safe='/:')}"


def _artifact_location(home: Path) -> str | None:
    """Where artifacts go: a server decides itself; with a bare database MLflow would use the current folder."""
    if _uri_given() and not re.match(r"(sqlite|mysql|postgresql|mssql)\b", os.environ["MLFLOW_TRACKING_URI"]):
        return None
    return (home / "artifacts").resolve().as_uri()


def _without_password(text: str) -> str:
    return re.sub(r"//[^/@\s]+@", "//…@", text)


def _hush() -> None:
    """Silence MLflow's log: its failures reach us as exceptions."""
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
