"""The embedded default data set, made when it is first asked for."""

from pathlib import Path

from platform.datasets.folder import write_dataset

DEFAULT_FOLDER = Path("data/simulated")
DEFAULT_SPLIT = "new_combinations"


def default_dataset() -> Path:
    """The folder of the simulated data set (it is simulated, not recorded: for trying things out, not for results)."""
    if not DEFAULT_FOLDER.exists():
        from platform.datasets.simulator import simulate

        write_dataset(simulate(), DEFAULT_FOLDER)
    return DEFAULT_FOLDER
