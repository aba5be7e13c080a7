"""The suggested next command for a data folder, with a split and values that fit its size."""

import shlex
from collections.abc import Iterable

import numpy as np

from platform.datasets.contents import ClassSplit
from platform.datasets.extractor_check import refuse_seen_classes
from platform.datasets.folder import Dataset
from platform.errors import InputError

_METHOD = "methods.sadvae"
_SMALL_SPACE = "search_spaces/sadvae_small.yaml"
_FEW = 30_000  # training samples; with fewer, the papers' learning rates hardly train a model
_UNSEEN_SHARE = 0.2  # of the classes, where a split is drawn, as in AwA's 40/10 and CUB's 150/50
_DRAWS = 5


def next_step(dataset: Dataset, preferred: Iterable[str] = (), features: str | None = None) -> list[str]:
    """Closing lines: a reason, if any, and `Next: COMMAND`.

    preferred: names of splits to suggest before the folder's others; features: the set to train on, its first by
    default.
    """
    if not dataset.card.features:
        return ["Next: extract features from its skeletons; they are not in a layout for pose descriptors"]
    split = _sensible_split(dataset, preferred, features)
    if split is None:
        return [
            "No class split of it can be trained and tested: that takes two seen classes with training samples, and "
            "two unseen ones with test samples that the features' extractor was not trained on"
        ]
    chosen = f"--dataset {shlex.quote(str(dataset.folder))} --split {split}" + (
        f" --features {shlex.quote(features)}" if features else ""
    )
    if dataset.card.features[dataset.feature_set(features)].kind != "numbers":
        # the user must name a method that learns from pictures or frames: the platform does not list methods
        return [f"Next: python -m platform.train METHOD {chosen}"]
    count = training_samples(dataset, dataset.split(split))
    if count >= _FEW:
        return [f"Next: python -m platform.train {_METHOD} {chosen}"]
    return [
        f"{count:,} training samples are few for the papers' values, which are the default: search for others",
        f"Next: python -m platform.tune {_METHOD} {chosen} --space {_SMALL_SPACE}",
    ]


def _sensible_split(dataset: Dataset, preferred: Iterable[str], features: str | None) -> str | None:
    """The first named split that can be trained and tested cleanly, else a drawn one."""
    unseen = max(2, round(_UNSEEN_SHARE * len(dataset.class_names)))
    drawn = (f"random:{unseen}:{seed}" for seed in range(_DRAWS))
    candidates = dict.fromkeys([*preferred, *dataset.splits, *drawn])
    return next((name for name in candidates if _can_be_used(dataset, name, features)), None)


def _can_be_used(dataset: Dataset, name: str, features: str | None) -> bool:
    try:
        split = dataset.split(name)
        refuse_seen_classes(dataset, name, [features])
    except InputError:
        return False
    trained, tested, unseen = _classes(dataset, dataset.train), dataset.tested_classes(split), set(split.unseen)
    return len(trained - unseen) > 1 and bool(tested & trained - unseen) and len(tested & unseen) > 1


def _classes(dataset: Dataset, rows: np.ndarray) -> set[str]:
    return {dataset.class_names[i] for i in np.unique(dataset.labels[rows])}


def training_samples(dataset: Dataset, split: ClassSplit) -> int:
    """Of the seen classes."""
    unseen = [dataset.class_names.index(name) for name in split.unseen]
    return int((dataset.train & ~np.isin(dataset.labels, unseen)).sum())
