import pytest

from platform.tracking.record import Tracker


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """One store for all tests: making a database takes seconds. Each test has an experiment of its own.

    The name holds what a URI would read as something else.
    """
    return tmp_path_factory.mktemp("50%20 of #1")


@pytest.fixture
def tracker(home, request, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Tracker(home, request.node.name)
