import pytest
from verbs import write_small_dataset


@pytest.fixture(scope="session")
def ray_connected():
    """Ray on this machine, once for all tests: starting it takes seconds."""
    import ray

    from platform import runtime

    runtime.connect()
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def small_dataset(tmp_path_factory):
    return write_small_dataset(tmp_path_factory.mktemp("data") / "small")
