"""A data folder in the shape of NTU-60's features: 60 classes, 256 features a clip, text of 1024 dimensions."""

from pathlib import Path

import numpy as np

from platform.datasets.contents import ClassInfo, ClassSplit, Contents, FeatureArray
from platform.datasets.folder import write_dataset

_CLASSES, _FEATURES, _TEXT, _UNSEEN = 60, 256, 1024, 5


def write_ntu_like(folder: Path, samples: int) -> Path:
    """Class prototypes are a linear map of the class semantics, which are given as attributes."""
    rng = np.random.default_rng(0)
    attributes = rng.normal(size=(_CLASSES, _TEXT))
    labels = np.arange(samples) % _CLASSES
    prototypes = attributes @ rng.normal(size=(_TEXT, _FEATURES)) / _TEXT**0.5
    names = [f"action {i:02d}" for i in range(_CLASSES)]
    features = prototypes[labels] + 2 * rng.normal(size=(samples, _FEATURES))
    contents = Contents(
        name="ntu-like",
        modality="skeleton",
        licence="none",
        source="made by this benchmark",
        classes=[ClassInfo(name=n, attributes=a.tolist()) for n, a in zip(names, attributes, strict=True)],
        labels=labels,
        train=np.arange(samples) < 2 * samples // 3,
        features={"made": FeatureArray(features, "made", "minmax")},
        splits={"55_5": ClassSplit(unseen=names[:_UNSEEN], source="made")},
        simulated=True,
    )
    return write_dataset(contents, folder).folder
