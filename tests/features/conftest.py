import pytest
from skeletons import tiny_training, write_small

from platform.features.training import train


@pytest.fixture(scope="session")
def small_skeletons(tmp_path_factory):
    """A data folder of raw clips that no test changes."""
    return write_small(tmp_path_factory.mktemp("skeletons") / "small", odd=True)


@pytest.fixture(scope="session")
def trained(small_skeletons, tmp_path_factory):
    """A training of both stages that has ended, and its folder."""
    folder = tmp_path_factory.mktemp("trained")
    training = tiny_training(small_skeletons, bodies=0)
    train(training, folder)
    return training, folder
