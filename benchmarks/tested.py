"""What the scripts that train on real data share: the data imported, an experiment as a run folder, and its tests."""

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from platform.datasets.folder import write_dataset
from platform.datasets.readers import ImportOptions, read
from platform.files import write_json
from platform.report.results import Result, results_of_folders
from platform.training.trainable import Experiment, train

DATA = Path(os.environ.get("UNSEEN_DATA", "../shared/data"))


def options(about: str | None, seeds: int) -> argparse.ArgumentParser:
    """An argument parser with what these scripts have in common."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=seeds, help="seeds of each row")
    parser.add_argument("--scratch", type=Path, help="keep data and runs there, and go on with what stands there")
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch")
    return parser


@contextmanager
def scratch(folder: Path | None) -> Iterator[Path]:
    """The folder asked for, or one that is removed in the end."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder.resolve()
        return
    with TemporaryDirectory(prefix="unseen-") as made:
        yield Path(made)


def utd_mhad(folder: Path) -> Path:
    """UTD-MHAD's skeletons, with its published Shift-GCN features, as a data folder below `folder`."""
    return _imported(folder / "utd", "utd_mhad", DATA / "utd_mhad", ImportOptions())


def awa1(folder: Path) -> Path:
    """AwA1's bag-of-words histograms (PCA, 512) with attributes, likewise."""
    source = DATA / "awa1/awa1_bow_pca512.npz"
    known = {"trained_on_classes": "seen:official", "pretrained_on": "none"}  # its PCA was fitted on the seen classes
    return _imported(folder / "awa1", "npz", source, ImportOptions(name="awa1", modality="image", **known))


def tested(experiment: Experiment, folder: Path) -> list[Result]:
    """Train and test in `folder`, or go on there, and read the tests as `platform.compare` does."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "experiment.json", experiment.model_dump(mode="json"))
    train(experiment, folder)
    return results_of_folders([folder])


def _imported(folder: Path, layout: str, source: Path, options: ImportOptions) -> Path:
    if not folder.exists():
        write_dataset(read(layout, source, options), folder)
    return folder
