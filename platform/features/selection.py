"""The clips that an extractor may see: the training partition of the seen classes, or a fold's part of it."""

from dataclasses import dataclass

import numpy as np
import torch

from platform.datasets.contents import ClassSplit
from platform.datasets.folder import Dataset
from platform.errors import InputError
from platform.population.draws import generator
from platform.zeroshot.task import Task, draw_pseudo_unseen, hold_out


@dataclass(frozen=True)
class Selection:
    """Rows of a data folder for one extractor. It holds no row of an unseen class.

    seen: the classes that it is trained on; rows: (N,) what it is trained on; labels: (N,) in 0 … len(seen) − 1;
    test_rows and test_labels: clips of the same classes that it is tested on; pseudo_unseen: of a fold, the seen
    classes that it never sees; pseudo_rows: (P,) their clips in the training partition.
    """

    seen: tuple[str, ...]
    rows: np.ndarray
    labels: np.ndarray
    test_rows: np.ndarray
    test_labels: np.ndarray
    pseudo_unseen: tuple[str, ...] = ()
    pseudo_rows: np.ndarray | None = None


def seen_selection(dataset: Dataset, split: ClassSplit) -> Selection:
    """The seen classes: trained on the training partition, tested on the other.

    Raises InputError where fewer than two classes have training samples.
    """
    occurring = set(np.unique(dataset.labels[dataset.train]).tolist())
    unseen = set(split.unseen)
    classes = [i for i, name in enumerate(dataset.class_names) if name not in unseen and i in occurring]
    if len(classes) < 2:
        raise InputError(f"{dataset.folder}: {len(classes)} seen classes have training samples; two are needed")
    number = np.full(len(dataset.class_names), -1)
    number[classes] = np.arange(len(classes))
    labels = number[dataset.labels]
    rows = np.flatnonzero(dataset.train & (labels >= 0))
    test_rows = np.flatnonzero(~dataset.train & (labels >= 0))
    seen = tuple(dataset.class_names[i] for i in classes)
    return Selection(seen, rows, labels[rows], test_rows, labels[test_rows])


def fold_selection(dataset: Dataset, split: ClassSplit, seen_fraction: float, fold_seed: int) -> Selection:
    """The first validation fold of the clean protocol, as `Problem.validation_folds` draws it.

    It is trained on the training partition without the pseudo-unseen classes (the split's published ones, else drawn by
    `fold_seed`) and without held-out subjects, on whom it is tested. The test partition stays out of it.
    """
    whole = seen_selection(dataset, split)
    task = Task(
        seen=whole.seen,
        unseen=tuple(split.unseen),
        features=torch.from_numpy(whole.rows)[:, None],  # row numbers as features, so that folds return rows
        labels=torch.from_numpy(whole.labels),
        semantics=torch.zeros(len(whole.seen) + len(split.unseen), 1),
        groups=torch.from_numpy(dataset.groups[whole.rows]) if (dataset.groups >= 0).all() else None,
    )
    names = split.pseudo_unseen[0] if split.pseudo_unseen else draw_pseudo_unseen(task, 0, fold_seed)
    smaller, scored = hold_out(task, names, seen_fraction, generator(fold_seed, "fold", 0))
    pseudo = scored.labels >= len(smaller.seen)
    held_rows = scored.features[:, 0]
    return Selection(
        seen=smaller.seen,
        rows=smaller.features[:, 0].numpy(),
        labels=smaller.labels.numpy(),
        test_rows=held_rows[~pseudo].numpy(),
        test_labels=scored.labels[~pseudo].numpy(),
        pseudo_unseen=smaller.unseen,
        pseudo_rows=held_rows[pseudo].numpy(),
    )
