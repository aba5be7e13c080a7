"""The layout of gzsl-od and tf-vaegan for zero-shot action recognition: one features file, many class splits.

i3d.mat                    `features` (8192, N), `labels` (N, 1) from 1; perhaps `video_names` or `image_files`
split_K/att_splits.mat     `att` (T, C), `trainval_loc`, `test_seen_loc`, `test_unseen_loc` from 1; perhaps
                           `allclasses_names`, and `train_loc` and `val_loc`, which validate on other classes

A data folder has one partition of its samples. Where the splits differ in theirs, it is drawn; with `--partition
split_3` that split is taken alone, its partition as published.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from platform.datasets.class_spelling import published_list_of
from platform.datasets.contents import ClassInfo, ClassSplit, Contents, FeatureArray, usual_normalisation
from platform.datasets.readers.arrays import as_labels, as_matrix, load_mat
from platform.datasets.readers.attributes import classes_with_attributes
from platform.datasets.readers.class_files import PUBLISHED_ORDER_NOTE, class_names
from platform.datasets.readers.options import ImportOptions
from platform.datasets.readers.partitions import draw_partition, partition_note
from platform.datasets.readers.proposed_splits import (
    LOCATIONS,
    SPLITS_FILE,
    listed_names,
    location_problem,
    sample_positions,
)
from platform.datasets.trained_on import UNKNOWN, TrainedOn
from platform.errors import InputError

_FEATURES_FILE = "i3d.mat"
_VALIDATION = ("train_loc", "val_loc")
_SAMPLE_NAMES = ("video_names", "image_files")
_I3D = "I3D, RGB and flow, Kinetics-400"
_KINETICS = TrainedOn(classes="none", other=("Kinetics-400",), source="gzsl-od and tf-vaegan: I3D as released")
_FOLDER = re.compile(r"split_(\d+)")


@dataclass(frozen=True)
class _Split:
    """What one split's file holds."""

    name: str
    path: Path
    tables: dict[str, np.ndarray]

    def positions(self, key: str) -> np.ndarray:
        return sample_positions(self.tables, key, str(self.path))


def read(source: Path, options: ImportOptions) -> Contents:
    """Every `split_K` is a class split. Raises InputError where a split does not fit the features or another split."""
    splits = _read_splits(source, options.partition)
    path = options.features or source / _FEATURES_FILE
    arrays = load_mat(path, ["features", "labels"], _SAMPLE_NAMES)
    values = as_matrix(f"{path}: `features`", arrays["features"].T)
    names, named_by = _names(splits, options)
    classes = _classes(splits, names)
    labels = as_labels(f"{path}: `labels`", arrays["labels"], len(values), len(names), first=1)
    for split in splits:
        if problem := location_problem(split.tables, labels, names, str(split.path)):
            raise InputError(f"{path}: its rows are not in the order that {split.path} expects ({problem})")
    train, note = _partition(splits, labels, options.seed)
    rows, left_out = _listed(splits, len(labels))
    extractor, trained_on = (_I3D, _KINETICS) if options.extractor is None else (options.extractor, UNKNOWN)
    return Contents(
        name=source.name,
        modality="video",
        licence="",
        source=f"features {path.name}, class vectors `att` of {SPLITS_FILE}; {note}",
        classes=classes,
        labels=labels[rows],
        train=train[rows],
        features={
            path.stem: FeatureArray(values[rows], extractor, usual_normalisation(values[rows]), trained_on=trained_on)
        },
        ids=_ids(arrays, rows, len(labels)),
        class_list=options.class_list or published_list_of(names),
        splits={split.name: _class_split(split, labels, names) for split in splits},
        notes=[*named_by, *left_out, *_samples_left_to_test(splits, train)],
    )


def _read_splits(source: Path, chosen: str | None) -> list[_Split]:
    """By number; all of them, or the one that was chosen."""
    numbers = {int(m[1]): p for p in source.glob(f"split_*/{SPLITS_FILE}") if (m := _FOLDER.fullmatch(p.parent.name))}
    found = {path.parent.name: path for _, path in sorted(numbers.items())}
    if not found:
        raise InputError(f"{source}: no split_1/{SPLITS_FILE}; expected a folder split_K a class split")
    if chosen is not None and chosen not in found:
        raise InputError(f"--partition {chosen}: {source} has no such split; it has {', '.join(found)}")
    optional = ("allclasses_names", *LOCATIONS, *_VALIDATION)
    return [
        _Split(name, path, load_mat(path, ["att"], optional)) for name, path in found.items() if chosen in (None, name)
    ]


def _names(splits: Sequence[_Split], options: ImportOptions) -> tuple[list[str], list[str]]:
    """The class names in label order, and what the card says where it is not sure that this is their order."""
    lists = {s.name: listed_names(s.tables) for s in splits if "allclasses_names" in s.tables}
    if options.classes is not None or not lists:
        names = class_names(options.classes, options.class_list)
        return names, [] if options.classes is not None else [PUBLISHED_ORDER_NOTE]
    first = next(iter(lists))
    for name, names in lists.items():
        if names != lists[first]:
            raise InputError(f"{name}/{SPLITS_FILE}: its `allclasses_names` differ from those of {first}")
    return lists[first], []


def _classes(splits: Sequence[_Split], names: Sequence[str]) -> list[ClassInfo]:
    first = splits[0]
    for split in splits:
        if not np.array_equal(split.tables["att"], first.tables["att"]):
            raise InputError(
                f"{split.path}: its `att` differs from that of {first.name}, and a class has one vector; import one "
                f"split alone with --partition {split.name}"
            )
    return classes_with_attributes(names, first.tables["att"].T, f"{first.path}: `att`")


def _partition(splits: Sequence[_Split], labels: np.ndarray, seed: int | None) -> tuple[np.ndarray, str]:
    """(N,) True in training, and what the card says of it."""
    train = _agreed(splits, len(labels))
    if train is None:
        seed = seed or 0
        return draw_partition(labels, seed), f"the splits differ in their partitions; {partition_note(seed)}"
    if seed is not None:
        raise InputError("--seed does not apply: the splits agree on what to train on")
    where = f"{splits[0].name} has" if len(splits) == 1 else "all splits have"
    return train, f"partitions as {where} them"


def _agreed(splits: Sequence[_Split], count: int) -> np.ndarray | None:
    """(N,) True where a sample trains; None where it does in one split and tests as one of a seen class in another."""
    train, test = (np.zeros(count, bool) for _ in range(2))
    for split in splits:
        train[split.positions("trainval_loc")] = True
        test[split.positions("test_seen_loc")] = True
    return None if (train & test).any() else train


def _listed(splits: Sequence[_Split], count: int) -> tuple[slice | np.ndarray, list[str]]:
    """The samples that some list holds, and what the card says of the others; a slice copies no features."""
    listed = np.zeros(count, bool)
    for split in splits:
        for key in LOCATIONS:
            listed[split.positions(key)] = True
    if listed.all():
        return slice(None), []
    return np.flatnonzero(listed), [f"{int((~listed).sum())} samples that stand in no list left out"]


def _samples_left_to_test(splits: Sequence[_Split], train: np.ndarray) -> list[str]:
    """A note where a split's own test set is larger than what this partition leaves of it."""
    lost = [int(train[split.positions("test_unseen_loc")].sum()) for split in splits]
    if not any(lost):
        return []
    return [
        f"of the samples that {SPLITS_FILE} tests as unseen, this partition trains on up to {max(lost)} where another "
        "split has their class seen: they test nothing; import a split alone, with --partition split_K, to test on all"
    ]


def _class_split(split: _Split, labels: np.ndarray, names: Sequence[str]) -> ClassSplit:
    unseen = sorted(set(labels[split.positions("test_unseen_loc")].tolist()))
    folds = []
    if all(key in split.tables for key in _VALIDATION):
        fitted, held_out = (set(labels[split.positions(key)].tolist()) for key in _VALIDATION)
        if held_out and not held_out & (fitted | set(unseen)):
            folds = [[names[i] for i in sorted(held_out)]]
    source = f"{split.name}/{SPLITS_FILE}, in the layout of gzsl-od and tf-vaegan"
    return ClassSplit(unseen=[names[i] for i in unseen], pseudo_unseen=folds, source=source)


def _ids(arrays: Mapping[str, np.ndarray], rows: slice | np.ndarray, count: int) -> list[str] | None:
    """The videos' names, where there is one a sample and no two are the same."""
    for key in _SAMPLE_NAMES:
        if key in arrays and arrays[key].size == count:
            cells = arrays[key].ravel()[rows]
            ids = [str(np.ravel(cell)[0]).strip() if np.size(cell) else "" for cell in cells]
            if len(set(ids)) == len(ids):
                return ids
    return None
