"""One .npz file of features.

Two forms: `x_train y_train x_test y_test`, as CTR-GCN, STAR and Flora write them (y one-hot, (N, 1) or (N,)); and
`features labels`, perhaps with `classes` (names), `attributes` (classes, A), `unseen` (class indices), `subjects` and
`train` (True in the training partition).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from platform.datasets.contents import ClassInfo, ClassSplit, Contents, FeatureArray
from platform.datasets.readers.arrays import as_integers, as_labels, as_matrix, load_npz, npz_keys
from platform.datasets.readers.attributes import classes_with_attributes
from platform.datasets.readers.class_files import class_names
from platform.datasets.readers.options import ImportOptions, flag
from platform.datasets.readers.partitions import draw_partition, partition_note
from platform.errors import InputError

_PARTED = ("x_train", "y_train", "x_test", "y_test")
_PLAIN = ("features", "labels")


def read(source: Path, options: ImportOptions) -> Contents:
    """Either form; without a partition of its own, one is drawn by the seed."""
    keys = npz_keys(source)
    if set(_PARTED) <= set(keys):
        return _read_parted(source, options)
    if set(_PLAIN) <= set(keys):
        return _read_plain(source, options)
    raise InputError(
        f"{source}: holds {', '.join(keys) or 'nothing'}; expected {', '.join(_PARTED)}, or {' and '.join(_PLAIN)}"
    )


def _read_parted(source: Path, options: ImportOptions) -> Contents:
    if options.seed is not None:
        raise InputError(f"{flag('seed')} does not apply to {source.name}: it has a training and a test partition")
    names = class_names(options.classes, options.class_list)
    arrays = load_npz(source, _PARTED)
    values = [as_matrix(f"{source}: `x_{part}`", arrays[f"x_{part}"]) for part in ("train", "test")]
    if values[0].shape[1] != values[1].shape[1]:
        raise InputError(f"{source}: x_train has {values[0].shape[1]} features, x_test {values[1].shape[1]}")
    labels = [
        _one_label_each(f"{source}: `y_{part}`", arrays[f"y_{part}"], len(x), len(names))
        for part, x in zip(("train", "test"), values, strict=True)
    ]
    return Contents(
        name=source.stem,
        modality=options.modality or "skeleton",
        licence="",
        source=f"features in {source.name}",
        classes=[ClassInfo(name=n) for n in names],
        labels=np.concatenate(labels),
        train=np.repeat([True, False], [len(y) for y in labels]),
        features={"features": FeatureArray(np.concatenate(values), options.extractor or "not stated", "scale")},
        class_list=options.class_list,
    )


def _one_label_each(where: str, values: np.ndarray, rows: int, classes: int) -> np.ndarray:
    """(rows,) class indices, of labels that are indices or one-hot rows."""
    if values.ndim == 2 and values.shape[1] > 1:
        one_hot = as_matrix(where, values, rows, classes)
        if not (np.all((one_hot == 0) | (one_hot == 1)) and np.all(one_hot.sum(axis=1) == 1)):
            raise InputError(f"{where}: its rows are not one-hot; each must hold a single 1")
        return one_hot.argmax(axis=1)
    return as_labels(where, values, rows, classes)


def _read_plain(source: Path, options: ImportOptions) -> Contents:
    arrays = load_npz(source, _PLAIN, ("classes", "attributes", "unseen", "subjects", "train"))
    names = _names(source, arrays, options)
    values = as_matrix(f"{source}: `features`", arrays["features"])
    labels = as_labels(f"{source}: `labels`", arrays["labels"], len(values), len(names))
    train, note = _partition(source, arrays, labels, options.seed)
    classes = [ClassInfo(name=n) for n in names]
    if "attributes" in arrays:
        classes = classes_with_attributes(names, arrays["attributes"], f"{source}: `attributes`")
    subjects = arrays.get("subjects")
    return Contents(
        name=source.stem,
        modality=options.modality or "image",
        licence="",
        source=f"features in {source.name}; {note}",
        classes=classes,
        labels=labels,
        train=train,
        features={"features": FeatureArray(values, options.extractor or "not stated", "scale")},
        groups=None if subjects is None else as_integers(f"{source}: `subjects`", subjects),
        class_list=options.class_list,
        splits=_official_split(source, arrays, names),
    )


def _names(source: Path, arrays: dict[str, np.ndarray], options: ImportOptions) -> list[str]:
    if options.classes is not None or "classes" not in arrays:
        return class_names(options.classes, options.class_list)
    if arrays["classes"].dtype.kind != "U" or arrays["classes"].ndim != 1:
        raise InputError(f"{source}: `classes` is {arrays['classes'].dtype}; expected text, one name a class")
    return arrays["classes"].tolist()


def _partition(
    source: Path, arrays: dict[str, np.ndarray], labels: np.ndarray, seed: int | None
) -> tuple[np.ndarray, str]:
    """(N,) bool, and what the card says of it."""
    if "train" not in arrays:
        return draw_partition(labels, seed or 0), partition_note(seed or 0)
    train = arrays["train"]
    if seed is not None:
        raise InputError(f"{flag('seed')} does not apply to {source.name}: its `train` says what to train on")
    if train.dtype != bool or train.shape != labels.shape:
        raise InputError(f"{source}: `train` is {train.dtype} {train.shape}; expected bool {labels.shape}")
    return train, "partitions as the file has them"


def _official_split(source: Path, arrays: dict[str, np.ndarray], names: Sequence[str]) -> dict[str, ClassSplit]:
    if "unseen" not in arrays:
        return {}
    where = f"{source}: `unseen`"
    indices = as_labels(where, arrays["unseen"], arrays["unseen"].size, len(names))
    return {"official": ClassSplit(unseen=[names[i] for i in sorted(indices)], source=f"{source.name}, `unseen`")}
