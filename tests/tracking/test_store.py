import shlex
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, unquote, urlparse

import pytest

from platform.errors import InputError
from platform.tracking import store
from platform.tracking.store import StoreUnavailable, open_experiment, open_store, retried, ui_command

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def own_store(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_the_store_and_its_artifacts_stand_under_home(home, monkeypatch, tmp_path, capfd):
    monkeypatch.chdir(tmp_path)
    client = open_store(home)
    experiment = client.get_experiment(open_experiment(client, home, "store"))
    assert (home / "mlflow.db").is_file()
    assert Path(unquote(urlparse(experiment.artifact_location).path)) == home / "artifacts"
    assert open_experiment(client, home, "store") == experiment.experiment_id
    assert list(tmp_path.iterdir()) == []  # nothing in the current folder
    assert capfd.readouterr() == ("", "")


def test_another_store_is_used_where_the_environment_names_one(home, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{quote(str(home))}/mlflow.db")
    client = open_store(tmp_path)
    experiment = client.get_experiment(open_experiment(client, tmp_path, "elsewhere"))
    assert not (tmp_path / "mlflow.db").exists()
    assert experiment.artifact_location == (tmp_path / "artifacts").as_uri()


def test_a_home_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be opened .*choose another folder"):
        open_store(tmp_path / "file")


def test_a_server_that_is_down_is_one_line_without_its_password(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    with pytest.raises(InputError, match="check MLFLOW_TRACKING_URI") as caught:
        open_store(tmp_path)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_deleted_experiment_is_not_written_to(home):
    client = open_store(home)
    client.delete_experiment(open_experiment(client, home, "deleted"))
    with pytest.raises(InputError, match="has been deleted"):
        open_experiment(client, home, "deleted")


def test_the_command_that_shows_the_store(home, tmp_path, monkeypatch):
    arguments = shlex.split(ui_command(home))
    assert arguments[:3] == ["mlflow", "ui", "--backend-store-uri"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", arguments[3])
    client = open_store(tmp_path)
    assert open_experiment(client, tmp_path, "Default") == "0"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@host:5000")
    assert ui_command(home) == "http://…@host:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:secret@host/mlflow")
    assert ui_command(home) == 'mlflow ui --backend-store-uri "$MLFLOW_TRACKING_URI"'


def failing(times, error):
    """A call that raises so many times and then returns how often it was called."""
    calls = []

    @retried
    def call():
        calls.append(None)
        if len(calls) <= times:
            raise error
        return len(calls)

    return call


def unavailable(code="TEMPORARILY_UNAVAILABLE"):
    from mlflow.exceptions import MlflowException

    error = MlflowException("database is locked")
    error.error_code = code
    return error


@pytest.mark.parametrize("error", [unavailable(), ConnectionResetError("lost")])
def test_a_store_that_is_down_for_a_moment_is_waited_for(error, monkeypatch):
    waited = []
    monkeypatch.setattr(store.time, "sleep", waited.append)
    assert failing(3, error)() == 4
    assert waited == [1, 2, 4]


def test_that_a_store_is_waited_for_is_said_once(monkeypatch, caplog):
    monkeypatch.setattr(store.time, "sleep", lambda _: None)
    failing(6, unavailable())()
    assert caplog.messages == ["the MLflow store does not answer (database is locked); waiting for it"]


def test_a_store_that_stays_down_is_reported(monkeypatch):
    waited = []
    monkeypatch.setattr(store.time, "sleep", waited.append)
    with pytest.raises(StoreUnavailable, match=r"failed 12 times in a row \(database is locked\)"):
        failing(20, unavailable())()
    assert sum(waited) == 120  # a restart takes about a minute


@pytest.mark.parametrize("error", [unavailable("INVALID_PARAMETER_VALUE"), FileNotFoundError("figure"), KeyError("a")])
def test_a_mistake_is_not_tried_again(error):
    with pytest.raises(type(error)):
        failing(1, error)()


def test_importing_the_tracker_imports_no_mlflow():
    script = "import sys, platform.tracking.record, platform.tracking.environment; print('mlflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
