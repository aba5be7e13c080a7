"""Array files, opened without pickle, with every fault as a one-line error that names the file."""

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from platform.errors import InputError

_ARRAY_FAULTS = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)
_MAT_FAULTS = (*_ARRAY_FAULTS, TypeError, IndexError, MatReadError)


def load_npy(path: Path) -> np.ndarray:
    """The array of a .npy file, memory-mapped."""
    _require(path)
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except _ARRAY_FAULTS as error:
        raise InputError(f"{path}: truncated, or no .npy file of plain numbers ({error})") from error


def npz_keys(path: Path) -> list[str]:
    """The names of the arrays in a .npz file."""
    _require(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except _ARRAY_FAULTS as error:
        raise InputError(f"{path}: truncated, or no .npz file ({error})") from error


def load_npz(path: Path, required: Sequence[str], optional: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """The named arrays of a .npz file, the optional ones where they are there."""
    present = npz_keys(path)
    _require_keys(path, required, present)
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in (*required, *optional) if key in present}
    except _ARRAY_FAULTS as error:
        raise InputError(f"{path}: truncated, or holds more than plain arrays ({error})") from error


def load_mat(path: Path, required: Sequence[str], optional: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """The named variables of a MATLAB file, the optional ones where they are there."""
    _require(path)
    with path.open("rb") as file:
        return read_mat(file, str(path), required, optional)


def read_mat(
    file: BinaryIO, where: str, required: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """`load_mat` for a file that is open already, as a member of an archive is; `where` names it in errors."""
    try:
        variables = loadmat(file, variable_names=[*required, *optional])
    except NotImplementedError as error:
        raise InputError(f"{where}: a MATLAB v7.3 file; save it with `save(..., '-v7')`, which is read here") from error
    except _MAT_FAULTS as error:
        raise InputError(f"{where}: truncated, or no MATLAB file ({error})") from error
    present = [key for key in variables if not key.startswith("__")]
    _require_keys(where, required, present)
    return {key: variables[key] for key in (*required, *optional) if key in present}


def as_matrix(where: str, values: np.ndarray, rows: int | None = None, columns: int | None = None) -> np.ndarray:
    """`values`, where it is (rows, columns) of real numbers; None accepts any count."""
    if values.dtype.kind not in "fiu":
        raise InputError(f"{where}: holds {values.dtype}; expected numbers")
    if values.ndim != 2:
        raise InputError(f"{where}: shape {values.shape}; expected (samples, features): extract features from raw data")
    if rows is not None and len(values) != rows:
        raise InputError(f"{where}: {len(values)} rows, expected {rows}")
    if columns is not None and values.shape[1] != columns:
        raise InputError(f"{where}: {values.shape[1]} columns, expected {columns}")
    return values


def as_integers(where: str, values: np.ndarray) -> np.ndarray:
    """(N,) int64 from whole numbers of any type that stand as (N,), (N, 1) or (1, N)."""
    if values.dtype.kind not in "fiu" or max(values.shape, default=0) != values.size:
        raise InputError(f"{where}: {values.dtype} of shape {values.shape}; expected whole numbers (samples,)")
    flat = np.asarray(values).reshape(-1)
    with np.errstate(invalid="ignore"):  # NaN is reported below
        whole = flat.astype(np.int64)
    if not np.array_equal(whole, flat):
        raise InputError(f"{where}: holds numbers that are not whole, as {flat[whole != flat][0]}")
    return whole


def as_labels(where: str, values: np.ndarray, rows: int, classes: int, first: int = 0) -> np.ndarray:
    """(rows,) int64 class indices from 0, of labels that count from `first`."""
    labels = as_integers(where, values)
    if len(labels) != rows:
        raise InputError(f"{where}: {len(labels)} labels for {rows} rows of features; the counts must agree")
    outside = labels[(labels < first) | (labels >= first + classes)]
    if len(outside):
        last = first + classes - 1
        raise InputError(f"{where}: label {outside[0]} is outside the {classes} classes, which are {first} to {last}")
    return labels - first


def _require(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"{path}: no such file")


def _require_keys(where: Path | str, required: Sequence[str], present: Sequence[str]) -> None:
    missing = [key for key in required if key not in present]
    if missing:
        raise InputError(f"{where}: no `{missing[0]}`; it holds {', '.join(present) or 'nothing'}")
