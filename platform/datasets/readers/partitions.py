"""A training partition for data that came without one."""

import numpy as np

_TRAIN_SHARE = 0.8


def draw_partition(labels: np.ndarray, seed: int) -> np.ndarray:
    """(N,) bool: True for four fifths of each class's samples, and for at least one. Drawn by `seed` alone."""
    generator = np.random.default_rng(seed)
    train = np.zeros(len(labels), bool)
    by_class = np.argsort(labels, kind="stable")
    boundaries = np.flatnonzero(np.diff(labels[by_class])) + 1
    for rows in np.split(by_class, boundaries):
        train[generator.permutation(rows)[: max(1, round(_TRAIN_SHARE * len(rows)))]] = True
    return train


def partition_note(seed: int) -> str:
    """What the card says of a drawn partition."""
    return f"train and test partitions drawn here, 80 to 20 within each class, seed {seed}"
