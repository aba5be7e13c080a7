"""Class splits that stand as index files: `ru5.npy` unseen, `rs55.npy` seen, `rv5_0.npy` pseudo-unseen.

The letter before u, s and v is the kind of split (r, random); the number is how many classes the file lists.
"""

import re
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from platform.datasets.contents import ClassSplit
from platform.datasets.readers.arrays import as_integers, load_npy
from platform.datasets.splits import published_class_lists
from platform.errors import InputError

_UNSEEN_FILE = re.compile(r"(?P<kind>[a-z]*)u(?P<count>\d+)")
_SEEN_FILE = re.compile(r"[a-z]*s\d+")


def read_label_splits(folder: Path, names: Sequence[str], class_list: str | None) -> dict[str, ClassSplit]:
    """The splits in `folder`, or in its subfolder named after the class list, that are for this many classes.

    A folder may hold the splits of several data sets. Where it holds seen lists, an unseen list belongs to this data
    set when the seen list that completes its count is there too.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; --label-splits takes one with files such as ru5.npy and rv5_0.npy")
    if class_list is not None and (folder / class_list).is_dir():
        folder = folder / class_list
    found = {path.stem: m for path in sorted(folder.glob("*.npy")) if (m := _UNSEEN_FILE.fullmatch(path.stem))}
    has_seen_lists = any(_SEEN_FILE.fullmatch(path.stem) for path in folder.glob("*.npy"))
    splits = {}
    for stem, match in found.items():
        if has_seen_lists and not _seen_file(folder, match, len(names)).exists():
            continue
        unseen, split = _read_split(folder, stem, match, names, class_list)
        twin = published_twin(unseen, len(names), class_list)
        splits[f"{stem}-superseded" if twin and "superseded" in twin else stem] = split
    if not splits:
        listed = ", ".join(found) or "none; are they in a subfolder?"
        raise InputError(f"{folder}: no class split for {len(names)} classes (unseen lists found: {listed})")
    return splits


def published_twin(unseen: Collection[int], count: int, class_list: str | None) -> str | None:
    """`LIST/SPLIT` of the published split with exactly these unseen classes, among the lists of `count` classes."""
    for name, known in published_class_lists().items():
        if known["count"] == count and class_list in (None, name):
            for split_name, split in known["splits"].items():
                if set(split["unseen"]) == set(unseen):
                    return f"{name}/{split_name}"
    return None


def split_source(where: str, unseen: Collection[int], count: int, class_list: str | None) -> str:
    """Where a split comes from, and whether it is a published one or one that its authors have replaced."""
    twin = published_twin(unseen, count, class_list)
    if twin is None:
        return where
    if "superseded" in twin:
        return f"{where}; SUPERSEDED: its authors replaced this class list ({twin}), published results use another"
    return f"{where}; the same unseen classes as the published split {twin}"


def _seen_file(folder: Path, match: re.Match, total: int) -> Path:
    return folder / f"{match['kind']}s{total - int(match['count'])}.npy"


def _read_split(
    folder: Path, stem: str, match: re.Match, names: Sequence[str], class_list: str | None
) -> tuple[list[int], ClassSplit]:
    path = folder / f"{stem}.npy"
    unseen = _read_indices(path, len(names))
    if len(unseen) != int(match["count"]):
        raise InputError(f"{path}: lists {len(unseen)} classes, its name says {match['count']}")
    seen_file = _seen_file(folder, match, len(names))
    # A released seen list may be incomplete: the complement of the unseen list is the truth, and the file only a check.
    if seen_file.exists() and (both := set(_read_indices(seen_file, len(names))) & set(unseen)):
        raise InputError(f"{seen_file}: lists class {min(both)}, which {path.name} names unseen")
    folds = [
        [names[i] for i in _read_indices(fold, len(names))]
        for fold in sorted(folder.glob(f"{match['kind']}v{match['count']}_*.npy"))
    ]
    source = split_source(f"label split {path.name}", unseen, len(names), class_list)
    return unseen, ClassSplit(unseen=[names[i] for i in unseen], pseudo_unseen=folds, source=source)


def _read_indices(path: Path, classes: int) -> list[int]:
    indices = np.unique(as_integers(str(path), load_npy(path)))
    outside = indices[(indices < 0) | (indices >= classes)]
    if len(outside):
        raise InputError(f"{path}: class index {outside[0]} is outside the {classes} classes (0 to {classes - 1})")
    return indices.tolist()
