"""The layout of Xian et al.'s Proposed Splits: `att_splits.mat` and one file of features.

att_splits.mat holds `att` and `original_att`, (attributes, classes); `allclasses_names`, whose order is the labels'
order (for CUB it is not the order of the class ids); and sample positions that count from 1: `trainval_loc`,
`test_seen_loc`, `test_unseen_loc`. The features stand in `res101.mat`, (features, samples) with labels from 1, or in an
.npz with `features` (samples, features), `labels` from 0 and perhaps `classes`. The pictures themselves are found by
the paths in `image_files` of `res101.mat`, which then need not have features.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from platform.datasets.contents import ClassSplit, Contents, FeatureArray, usual_normalisation
from platform.datasets.readers.arrays import as_labels, as_matrix, load_mat, load_npz
from platform.datasets.readers.attributes import classes_with_attributes
from platform.datasets.readers.image_files import read_named_pictures
from platform.datasets.readers.options import ImportOptions, flag
from platform.datasets.readers.partitions import draw_partition, partition_note
from platform.datasets.readers.proposed_splits import (
    LOCATIONS,
    SPLITS_FILE,
    listed_names,
    location_problem,
    sample_positions,
)
from platform.datasets.splits import published_class_lists
from platform.datasets.trained_on import UNKNOWN, TrainedOn
from platform.errors import InputError

_RESNET = "ResNet-101, ImageNet"
_IMAGENET = TrainedOn(
    classes="none", other=("ImageNet",), source="Xian et al. (TPAMI 2019): res101.mat is of a network not fine-tuned"
)


@dataclass(frozen=True)
class _Samples:
    """values: (N, D), None of pictures alone; labels: (N,) from 0; images: (N,) paths, where they are asked for."""

    path: Path
    values: np.ndarray | None
    labels: np.ndarray
    images: np.ndarray | None = None


def read(source: Path, options: ImportOptions) -> Contents:
    """The split is `proposed`. Raises InputError where the positions do not fit the features' rows.

    With --images the pictures are a feature set beside the features, and samples without one are left out.
    """
    path = source / SPLITS_FILE
    of_pictures = [name for name in ("size", "exact", "workers") if name in options.given()]
    if options.images is None and of_pictures:
        raise InputError(f"{flag(of_pictures[0])} is of pictures: give --images too")
    if options.seed is not None and options.locations != "ignore":
        raise InputError(f"--seed does not apply: {SPLITS_FILE} says what to train on (see --locations ignore)")
    chosen = options.attributes or "att"
    tables = load_mat(path, ["allclasses_names", chosen], LOCATIONS)
    names = listed_names(tables)
    classes = classes_with_attributes(names, tables[chosen].T, f"{path}: `{chosen}`")
    samples = _read_samples(options.features or _find_features(source), names, options.images is not None)

    problem = location_problem(tables, samples.labels, names)
    if options.locations == "ignore":
        seed = options.seed or 0
        unseen = _unseen_without_locations(source, names, problem, tables, samples.labels)
        rows, train = slice(None), draw_partition(samples.labels, seed)
        note = f"sample positions of {SPLITS_FILE} ignored; {partition_note(seed)}"
    elif problem is not None:
        raise InputError(
            f"{samples.path}: its rows are not in the order that {path} expects ({problem}); with --locations ignore "
            "only the attributes and the class split are taken and a seeded partition is drawn"
        )
    else:
        positions = {key: sample_positions(tables, key) for key in LOCATIONS}
        unseen = sorted(set(samples.labels[positions["test_unseen_loc"]].tolist()))
        rows = np.sort(np.concatenate(list(positions.values())))
        train = np.isin(rows, positions["trainval_loc"])
        note = f"partitions as {SPLITS_FILE} has them"
        if len(rows) == len(samples.labels):
            rows = slice(None)
        else:
            note += f", {len(samples.labels) - len(rows)} samples that stand in no list left out"
    split = ClassSplit(
        unseen=[names[i] for i in unseen],
        pseudo_unseen=_read_folds(source, names, unseen),
        source=f"Xian et al., Proposed Splits, {SPLITS_FILE}",
    )
    given, pictures = "features" if samples.values is not None else "labels", None
    if options.images is not None:
        pictures = read_named_pictures(samples.images[rows].tolist(), samples.labels[rows], names, options)
        note += f"; pictures of {options.images.name}"
        if not pictures.kept.all():
            rows, train = np.arange(len(samples.labels))[rows][pictures.kept], train[pictures.kept]
    return Contents(
        name=source.name,
        modality=options.modality or "image",
        licence="",
        source=f"{given} {samples.path.name}, class attributes `{chosen}` of {SPLITS_FILE}; {note}",
        classes=classes,
        labels=samples.labels[rows],
        train=train,
        features=_features(samples, rows, options) | ({"pictures": pictures.encoded} if pictures else {}),
        ids=pictures and pictures.ids,
        class_list=next((n for n, known in published_class_lists().items() if known["classes"] == names), None),
        splits={"proposed": split},
        notes=pictures.notes if pictures else (),
    )


def _features(samples: _Samples, rows: np.ndarray | slice, options: ImportOptions) -> dict[str, FeatureArray]:
    if samples.values is None:
        return {}
    theirs = samples.path.name == "res101.mat" and options.extractor is None
    extractor, trained_on = (_RESNET, _IMAGENET) if theirs else (options.extractor or "not stated", UNKNOWN)
    values = samples.values[rows]
    return {samples.path.stem: FeatureArray(values, extractor, usual_normalisation(values), trained_on=trained_on)}


def _find_features(source: Path) -> Path:
    found = [p for p in sorted(source.glob("*")) if p.suffix in (".mat", ".npz") and "att_splits" not in p.name.lower()]
    if (source / "res101.mat") in found:
        return source / "res101.mat"
    if len(found) != 1:
        have = ", ".join(p.name for p in found) or "none"
        raise InputError(f"{source}: no res101.mat, no single other file of features ({have}); use --features")
    return found[0]


def _read_samples(path: Path, names: Sequence[str], with_images: bool) -> _Samples:
    if with_images:
        return _read_samples_with_images(path, names)
    if path.suffix == ".npz":
        arrays = load_npz(path, ["features", "labels"], ["classes"])
        values = as_matrix(f"{path}: `features`", arrays["features"])
        labels = as_labels(f"{path}: `labels`", arrays["labels"], len(values), len(names))
        if "classes" in arrays:
            labels = _in_order(path, arrays["classes"].astype(str).tolist(), names)[labels]
        return _Samples(path, values, labels)
    arrays = load_mat(path, ["features", "labels"])
    values = as_matrix(f"{path}: `features`", arrays["features"].T)
    return _Samples(path, values, as_labels(f"{path}: `labels`", arrays["labels"], len(values), len(names), first=1))


def _read_samples_with_images(path: Path, names: Sequence[str]) -> _Samples:
    if path.suffix != ".mat":
        raise InputError(f"{path}: says no `image_files`, which --images needs; give a .mat file as res101.mat")
    arrays = load_mat(path, ["image_files", "labels"], ["features"])
    images = np.array([str(np.ravel(cell)[0]) for cell in arrays["image_files"].ravel()])
    where = f"{path}: `labels`"
    labels = as_labels(where, arrays["labels"], len(images), len(names), first=1)
    if "features" not in arrays:
        return _Samples(path, None, labels, images)
    values = as_matrix(f"{path}: `features`", arrays["features"].T, rows=len(images))
    return _Samples(path, values, labels, images)


def _in_order(path: Path, theirs: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """(C,) for each of the file's classes its index in `names`."""
    if sorted(theirs) != sorted(names):
        odd = min(set(theirs) ^ set(names))
        raise InputError(f"{path}: its `classes` are not those of {SPLITS_FILE}; `{odd}` is in one of them only")
    return np.array([names.index(name) for name in theirs])


def _unseen_without_locations(
    source: Path, names: Sequence[str], problem: str | None, tables: dict[str, np.ndarray], labels: np.ndarray
) -> list[int]:
    path = source / "testclasses.txt"
    if path.exists():
        return _read_class_file(path, names)
    if problem is None:
        return sorted(set(labels[sample_positions(tables, "test_unseen_loc")].tolist()))
    raise InputError(f"{path}: no such file; without usable sample positions it has to say which classes are unseen")


def _read_folds(source: Path, names: Sequence[str], unseen: Collection[int]) -> list[list[str]]:
    """`valclasses1.txt` and so on: seen classes to hold out. Some lists come from older splits and name unseen ones."""
    folds = []
    for path in sorted(source.glob("valclasses*.txt")):
        if fold := [names[i] for i in _read_class_file(path, names) if i not in unseen]:
            folds.append(fold)
    return folds


def _read_class_file(path: Path, names: Sequence[str]) -> list[int]:
    listed = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    unknown = sorted(set(listed) - set(names))
    if unknown:
        raise InputError(f"{path}: unknown class `{unknown[0]}`; the classes are those of {SPLITS_FILE}")
    return sorted(names.index(name) for name in set(listed))
