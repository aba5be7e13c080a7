"""The layout of SynSE, SA-DVAE and MSF: a folder of .npy files for one class split.

train.npy, train_label.npy   seen classes, training partition
gtest.npy, g_label.npy       all classes, test partition
ztest.npy, z_label.npy       the rows of gtest that are of unseen classes
gtest_out.npy                logits of a classifier trained on the seen classes, (rows of gtest, all classes); may lack

The extractor is taken to be the one that the papers made: trained on the seen classes of the folder's split alone.

Beside it or in it, a validation folder holds the features of an extractor that never saw the pseudo-unseen classes:

train.npy, train_label.npy   the remaining seen classes, training partition
val.npy, val_label.npy       the remaining seen classes, test partition
ztest.npy, z_label.npy       the pseudo-unseen classes, test partition
val_out.npy, ztest_out.npy   logits; may lack
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from platform.datasets.contents import ClassInfo, ClassSplit, Contents, FeatureArray
from platform.datasets.readers.arrays import as_labels, as_matrix, load_npy
from platform.datasets.readers.class_files import class_names
from platform.datasets.readers.held_out_origin import origin_notes
from platform.datasets.readers.label_splits import split_source
from platform.datasets.readers.options import ImportOptions
from platform.datasets.trained_on import TrainedOn
from platform.errors import InputError

_TRAINED = TrainedOn(other="none", source="the layout: its extractors are trained on the seen classes of their split")


@dataclass(frozen=True)
class _Part:
    """values: (N, D); labels: (N,); logits: (N, C) or None."""

    values: np.ndarray
    labels: np.ndarray
    logits: np.ndarray | None = None


def read(source: Path, options: ImportOptions) -> Contents:
    """Train rows, then gtest rows; the folder's class split is `given`. Raises InputError where files disagree."""
    names = class_names(options.classes, options.class_list)
    train = _read_part(source, "train", "train_label", len(names))
    unseen_test = _read_part(source, "ztest", "z_label", len(names))
    test = _read_part(source, "gtest", "g_label", len(names), logits="gtest_out")
    unseen = sorted(set(unseen_test.labels.tolist()))
    _refuse_classes(source / "train_label.npy", train.labels, unseen, names, "z_label.npy names unseen")
    _check_unseen_rows(source, test, unseen_test, unseen, names)

    validation, folds, notes = None, [], []
    folder = options.validation or _find_validation(source)
    if folder is not None:
        validation = _read_validation(folder, names, unseen, options)
        folds = [validation.splits["given"].unseen]
        notes = origin_notes(train.labels, test.labels, validation)
    note = split_source(f"the folder {source.name}", unseen, len(names), options.class_list)
    split = ClassSplit(unseen=[names[i] for i in unseen], pseudo_unseen=folds, source=note)
    seen = [name for i, name in enumerate(names) if i not in unseen]
    return _contents(source, [train, test], names, split, options, seen, options.class_list, validation, notes)


def _read_validation(folder: Path, names: Sequence[str], unseen: Sequence[int], options: ImportOptions) -> Contents:
    train = _read_part(folder, "train", "train_label", len(names))
    seen_test = _read_part(folder, "val", "val_label", len(names), logits="val_out")
    pseudo_test = _read_part(folder, "ztest", "z_label", len(names), logits="ztest_out")
    pseudo = sorted(set(pseudo_test.labels.tolist()))
    for part, label_file in ((train, "train_label.npy"), (seen_test, "val_label.npy"), (pseudo_test, "z_label.npy")):
        reason = "the data set's own z_label.npy names unseen: validation may not touch it"
        _refuse_classes(folder / label_file, part.labels, unseen, names, reason)
    _refuse_classes(folder / "train_label.npy", train.labels, pseudo, names, "z_label.npy names pseudo-unseen")
    split = ClassSplit(unseen=[names[i] for i in pseudo], source=f"the validation folder {folder.name}")
    # No class list: its published splits hold out classes that have no samples here.
    seen = [name for i, name in enumerate(names) if i not in {*unseen, *pseudo}]
    return _contents(folder, [train, seen_test, pseudo_test], names, split, options, seen, class_list=None)


def _contents(
    folder: Path,
    parts: Sequence[_Part],
    names: Sequence[str],
    split: ClassSplit,
    options: ImportOptions,
    seen: Sequence[str],
    class_list: str | None,
    validation: Contents | None = None,
    notes: Sequence[str] = (),
) -> Contents:
    """The parts one below the other; the first is the training partition. seen: what the extractor was trained on."""
    trained_on = _TRAINED.of_classes(seen)
    labels = np.concatenate([p.labels for p in parts])
    values = np.concatenate([p.values for p in parts], dtype=np.float32, casting="same_kind")
    return Contents(
        name=folder.name,
        modality="skeleton",
        licence="",
        source=f"features in the SynSE layout, folder {folder.name}",
        classes=[ClassInfo(name=n) for n in names],
        labels=labels,
        train=np.arange(len(labels)) < len(parts[0].labels),
        features={"features": FeatureArray(values, options.extractor or "not stated", trained_on=trained_on)},
        class_list=class_list,
        splits={"given": split},
        logits=_stack_logits(parts, len(names)),
        logits_trained_on=trained_on,
        notes=notes,
        validation=validation,
    )


def _stack_logits(parts: Sequence[_Part], classes: int) -> np.ndarray | None:
    if all(p.logits is None for p in parts):
        return None
    absent = np.float32(np.nan)
    return np.concatenate(
        [np.full((len(p.labels), classes), absent) if p.logits is None else p.logits for p in parts],
        dtype=np.float32,
        casting="same_kind",
    )


def _read_part(folder: Path, features: str, labels: str, classes: int, logits: str | None = None) -> _Part:
    path, label_path = folder / f"{features}.npy", folder / f"{labels}.npy"
    values = as_matrix(str(path), load_npy(path))
    indices = as_labels(str(label_path), load_npy(label_path), len(values), classes)
    logits_path = folder / f"{logits}.npy"
    if logits is None or not logits_path.exists():
        return _Part(values, indices)
    return _Part(values, indices, as_matrix(str(logits_path), load_npy(logits_path), len(values), classes))


def _refuse_classes(path: Path, labels: np.ndarray, refused: Sequence[int], names: Sequence[str], reason: str) -> None:
    found = np.intersect1d(labels, refused)
    if len(found):
        raise InputError(f"{path}: has samples of class {found[0]} (`{names[found[0]]}`), which {reason}")


def _check_unseen_rows(
    source: Path, test: _Part, unseen_test: _Part, unseen: Sequence[int], names: Sequence[str]
) -> None:
    """ztest must be gtest's rows of unseen classes, within each class in the same order."""
    rows = np.flatnonzero(np.isin(test.labels, unseen))
    for index in unseen:
        expected, found = np.sum(test.labels == index), np.sum(unseen_test.labels == index)
        if expected != found:
            raise InputError(
                f"{source}/z_label.npy: {found} samples of class {index} (`{names[index]}`), g_label.npy has {expected}"
                "; ztest.npy must be the rows of gtest.npy that are of unseen classes"
            )
    in_test = test.values[rows[np.argsort(test.labels[rows], kind="stable")]]
    in_unseen_test = unseen_test.values[np.argsort(unseen_test.labels, kind="stable")]
    if in_test.shape != in_unseen_test.shape or not np.allclose(in_test, in_unseen_test, equal_nan=True):
        raise InputError(
            f"{source}/ztest.npy: its features are not those of the same samples in gtest.npy; "
            "both must come from one extractor and one run"
        )


def _find_validation(source: Path) -> Path | None:
    """The validation folder that belongs to `source`: the one inside it, or the one beside it with its name.

    `shift_val_5_r` belongs to `shift_5_r`; a lone `val` belongs to the only feature folder beside it.
    """

    def inside(folder: Path, file: str) -> list[Path]:
        return [p for p in sorted(folder.iterdir()) if p.is_dir() and (p / file).exists()]

    own = [p for p in inside(source, "val.npy") if "val" in p.name]
    if len(own) == 1:
        return own[0]
    parent = source.resolve().parent
    beside = [p for p in inside(parent, "val.npy") if "val" in p.name]
    for candidate in beside:
        if candidate.name.replace("_val", "").replace("val_", "") == source.resolve().name:
            return candidate
    alone = len(beside) == 1 and len(inside(parent, "gtest.npy")) == 1
    return beside[0] if alone else None
