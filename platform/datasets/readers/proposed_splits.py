"""`att_splits.mat`, as Xian et al. and those after them write it: class names, class attributes, sample positions.

`att` and perhaps `original_att` are (attributes, classes); `allclasses_names` has the labels' order; positions count
from 1.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from platform.datasets.readers.arrays import as_integers

SPLITS_FILE = "att_splits.mat"
LOCATIONS = ("trainval_loc", "test_seen_loc", "test_unseen_loc")


def listed_names(tables: Mapping[str, np.ndarray]) -> list[str]:
    """`allclasses_names`, in label order."""
    return [str(np.ravel(cell)[0]).strip() for cell in tables["allclasses_names"].ravel()]


def sample_positions(tables: Mapping[str, np.ndarray], key: str, where: str = SPLITS_FILE) -> np.ndarray:
    """(n,) positions from 0."""
    return as_integers(f"{where}: `{key}`", tables[key]) - 1


def location_problem(
    tables: Mapping[str, np.ndarray], labels: np.ndarray, names: Sequence[str], where: str = SPLITS_FILE
) -> str | None:
    """Why the sample positions cannot be those of these labels; None where they can."""
    missing = [key for key in LOCATIONS if key not in tables]
    if missing:
        return f"it holds no `{missing[0]}`"
    trainval, test_seen, test_unseen = (sample_positions(tables, key, where) for key in LOCATIONS)
    every = np.concatenate([trainval, test_seen, test_unseen])
    if every.min() < 0 or every.max() >= len(labels):
        return f"positions run from {every.min() + 1} to {every.max() + 1}, the features have {len(labels)} rows"
    if len(np.unique(every)) != len(every):
        return "a position stands in more than one list"
    for what, positions in (("trainval_loc", trainval), ("test_seen_loc", test_seen)):
        both = np.intersect1d(labels[positions], labels[test_unseen])
        if len(both):
            return f"{what} and test_unseen_loc share {len(both)} classes, as `{names[both[0]]}`"
    return None
