"""Atomic changes of a data folder: it is the old one until the last step, then the new one."""

import ctypes
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from platform.datasets.contents import ClassSplit, Contents, FeatureArray
from platform.datasets.folder import (
    REFERENCES,
    Card,
    Dataset,
    FeatureSet,
    _checksum,
    _write_contents,
    _write_features,
    _write_json,
    _write_matrix,
    _write_references,
)
from platform.datasets.trained_on import UNKNOWN, TrainedOn
from platform.errors import InputError

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # of Linux's fcntl.h


def revised(
    dataset: Dataset,
    features: Mapping[str, FeatureArray],
    logits: np.ndarray | None = None,
    validation: Contents | None = None,
    only: tuple[str, ClassSplit] | None = None,
    to: Path | None = None,
    logits_trained_on: TrainedOn | None = None,
    references: Sequence[Sequence[str]] | None = None,
) -> Dataset:
    """Add feature sets to a data folder, and replace what is given: its logits (N, C), its validation folder, and the
    references, a list of captions for each sample.

    only: a name and a class split, where the folder shall have no other, the published ones included. to: a new folder
    in place of the old one, which then stays as it is; the new feature sets are its first. logits_trained_on: of the
    classifier whose logits are given, unknown by default. Arrays that do not change are shared with the old folder
    where the file system can. A kill at any point leaves the old folder or the new one, whole. Raises InputError where
    an array has the wrong shape, `to` exists, or another process is writing the folder.
    """
    _check(dataset, features, logits)
    if validation is not None:
        validation.check()
    if to is not None and to.exists():
        raise InputError(f"{to} exists already; choose another folder or remove it")
    target = to or dataset.folder
    target.parent.mkdir(parents=True, exist_ok=True)
    with _alone(dataset.folder):
        if to is None:
            for left in target.parent.glob(f".{target.name}.*.partial"):  # of one that was killed
                shutil.rmtree(left, ignore_errors=True)
        partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
        try:
            first = to is not None
            _write(dataset, partial, features, logits, validation, only, logits_trained_on, references, first)
            if to is None:
                _exchange(partial, dataset.folder)
            else:
                partial.rename(to)
        finally:
            shutil.rmtree(partial, ignore_errors=True)  # what is left: the old folder, or a new one that broke off
    return Dataset(target)


def _check(dataset: Dataset, features: Mapping[str, FeatureArray], logits: np.ndarray | None) -> None:
    count, classes = len(dataset.labels), len(dataset.class_names)
    for name, feature_set in features.items():
        feature_set.check(f"feature set `{name}`", count)
    if logits is not None and logits.shape != (count, classes):
        raise InputError(f"logits are {logits.shape}, expected ({count}, {classes}): all classes")


def _write(
    dataset: Dataset,
    partial: Path,
    features: Mapping[str, FeatureArray],
    logits: np.ndarray | None,
    validation: Contents | None,
    only: tuple[str, ClassSplit] | None,
    logits_trained_on: TrainedOn | None,
    references: Sequence[Sequence[str]] | None,
    first: bool,
) -> None:
    new = {"dataset.json", *(f"features/{name}.arrow" for name in features)}
    new |= {"logits.arrow"} if logits is not None else set()
    new |= {"splits.json"} if only is not None else set()
    new |= {REFERENCES} if references is not None else set()
    for path in sorted(dataset.folder.rglob("*")):
        name = path.relative_to(dataset.folder)
        replaced = name.as_posix() in new or (validation is not None and name.parts[0] == "validation")
        if path.is_file() and not replaced:
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            _share(path, partial / name)
    (partial / "features").mkdir(exist_ok=True)  # where every set is new
    for name, feature_set in features.items():
        _write_features(partial / "features" / f"{name}.arrow", feature_set)
    if logits is not None:
        _write_matrix(partial / "logits.arrow", logits)
    if references is not None:
        _write_references(partial / REFERENCES, references)
    if only is not None:
        _write_json(partial / "splits.json", {only[0]: only[1].model_dump()})
    if validation is not None:
        (partial / "validation").mkdir()
        _write_contents(validation, partial / "validation")
        new |= {p.relative_to(partial).as_posix() for p in (partial / "validation").rglob("*") if p.is_file()}
    card = _card(dataset, partial, new, features, only)
    if logits is not None:
        card = card.model_copy(update={"logits": True, "logits_trained_on": logits_trained_on or UNKNOWN})
    if first:
        card = card.model_copy(update={"features": {n: card.features[n] for n in [*features, *card.features]}})
    _write_json(partial / "dataset.json", card.model_dump())


def _card(
    dataset: Dataset,
    partial: Path,
    new: set[str],
    features: Mapping[str, FeatureArray],
    only: tuple[str, ClassSplit] | None,
) -> Card:
    kept = {f: c for f, c in dataset.card.checksums.items() if f not in new and (partial / f).exists()}
    written = {f: _checksum(partial / f) for f in sorted(new - {"dataset.json"})}
    sets = {name: FeatureSet.of(f) for name, f in features.items()}
    return dataset.card.model_copy(
        update={
            "features": {**dataset.card.features, **sets},
            "class_list": dataset.card.class_list if only is None else None,
            "unseen_test": dataset.unseen_test,
            "checksums": kept | written,
        }
    )


def _share(path: Path, to: Path) -> None:
    """The same file under another name, or a copy where the file system has no links.

    Arrow files are never written to again; the others are copied, since somebody may edit them.
    """
    if path.suffix == ".arrow":
        with suppress(OSError):
            to.hardlink_to(path)
            return
    shutil.copy2(path, to)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Lock a data folder for this process. Raises InputError where another process holds it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise InputError(f"{folder}: another process is writing it") from None
    finally:
        os.close(handle)


def _exchange(one: Path, other: Path) -> None:
    """Exchange the names of two folders in one step, where the system can; else in two."""
    exchange = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if exchange is not None:
        names = (_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other))
        if exchange(*names, _RENAME_EXCHANGE) == 0:
            return
    former = one.with_name(f"{one.name}.former")
    other.rename(former)
    one.rename(other)
    former.rename(one)
