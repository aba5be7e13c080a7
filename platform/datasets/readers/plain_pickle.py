"""Pickles that hold nothing but plain values and arrays, read without running anything that they name.

A pickle can call any function that it can name. This reader knows a handful of names, those with which NumPy writes
arrays and numbers, and gives each a stand-in of its own; anything else is refused before it is looked up.
"""

import io
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from platform.errors import InputError

_FAULTS = (OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, MemoryError, OverflowError)
_MORE_FAULTS = (pickle.UnpicklingError, RecursionError, ImportError, AssertionError)
_PLAIN = (str, bytes, int, float, bool, type(None))
_ARRAY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC_MODULES = ("numpy.core.numeric", "numpy._core.numeric")


class _Refused(Exception):
    """The pickle names, or holds, something that is not plain."""


class _DType:
    """Stands in for numpy.dtype: numbers and booleans only."""

    def __init__(self, spec: object, *_: object) -> None:
        dtype = np.dtype(spec) if isinstance(spec, str) else None
        if dtype is None or dtype.kind not in "biuf":
            raise _Refused(f"an array of {spec!r}, not of numbers")
        self.value = dtype

    def __setstate__(self, state: tuple) -> None:
        if state[1] not in "<>|=" or any(part is not None for part in state[2:5]):
            raise _Refused("an array of records, not of numbers")
        self.value = self.value.newbyteorder(state[1])


class _Array:
    """Stands in for an array until its state arrives."""

    value: np.ndarray | None = None

    def __setstate__(self, state: tuple) -> None:
        shape, dtype, fortran, raw = state[-4:]
        self.fill(raw, dtype, shape, "F" if fortran else "C")

    def fill(self, raw: object, dtype: object, shape: object, order: str) -> None:
        """Take the bytes of an array. Raises _Refused where they are not those of such an array."""
        if not isinstance(dtype, _DType) or not isinstance(raw, bytes | bytearray) or not isinstance(shape, tuple):
            raise _Refused("an array whose state is not that of one")
        if not all(type(n) is int and n >= 0 for n in shape) or order not in ("C", "F"):
            raise _Refused(f"an array of shape {shape!r}")
        if math.prod(shape) * dtype.value.itemsize != len(raw):
            raise _Refused(f"an array of shape {shape} in {len(raw)} bytes")
        self.value = np.frombuffer(raw, dtype.value).reshape(shape, order=order)


class _NDArray:
    """Stands in for the type numpy.ndarray, which is only handed on."""


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _from_buffer(raw: object, dtype: object, shape: object, order: str) -> _Array:
    array = _Array()
    array.fill(raw, dtype, shape, order)
    return array


def _scalar(dtype: object, raw: object) -> int | float | bool:
    array = _from_buffer(raw, dtype, (1,), "C")
    return array.value[0].item()


def _encode(text: object, encoding: object = "latin1") -> bytes:
    """Bytes as the older protocols write them."""
    if not isinstance(text, str) or encoding != "latin1":
        raise _Refused("bytes in another encoding than latin1")
    return text.encode("latin1")


def _names() -> dict[tuple[str, str], Callable[..., object] | type]:
    """What a pickle may name. Made anew for each file, so that none can change what the next one finds."""
    names: dict[tuple[str, str], Callable[..., object] | type] = {
        ("numpy", "dtype"): type("_DType", (_DType,), {}),
        ("numpy", "ndarray"): type("_NDArray", (_NDArray,), {}),
        ("_codecs", "encode"): lambda *given: _encode(*given),
        ("builtins", "bytes"): lambda: b"",  # of an empty array, in the older protocols
        ("__builtin__", "bytes"): lambda: b"",
    }
    for module in _ARRAY_MODULES:
        names[module, "_reconstruct"] = lambda *given: _reconstruct(*given)
        names[module, "scalar"] = lambda *given: _scalar(*given)
    for module in _NUMERIC_MODULES:
        names[module, "_frombuffer"] = lambda *given: _from_buffer(*given)
    return names


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BufferedIOBase) -> None:
        super().__init__(file, encoding="latin1")
        self._known = _names()

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._known:
            raise _Refused(f"`{module}.{name}`")
        return self._known[module, name]

    def persistent_load(self, pid: object) -> Any:
        raise _Refused("a reference to something outside of the file")


def load_plain_pickle(path: Path) -> Any:
    """Dictionaries, lists, tuples, text, numbers and NumPy arrays of numbers, read-only. Nothing in the file is run.

    Raises InputError where it holds, or names, anything else, or is damaged.
    """
    try:
        with path.open("rb") as file:
            return _plain(_Unpickler(file).load(), {})
    except _Refused as error:
        raise InputError(
            f"{path}: refused: the pickle holds {error}; plain values and arrays of numbers are read, nothing else"
        ) from None
    except (*_FAULTS, *_MORE_FAULTS) as error:
        raise InputError(f"{path}: truncated, or no pickle ({type(error).__name__}: {error})") from error


def _plain(value: object, done: dict[int, object]) -> object:
    """`value` with arrays in place of their stand-ins. done: what was made of containers, by their id."""
    if type(value) in _PLAIN:
        return value
    if id(value) in done:
        return done[id(value)]
    if isinstance(value, _Array) and value.value is not None:
        return value.value
    done[id(value)] = None  # a container within itself would have no end
    if type(value) is dict:
        made = {_key(key): _plain(item, done) for key, item in value.items()}
    elif type(value) in (list, tuple):
        made = type(value)(_plain(item, done) for item in value)
    else:
        raise _Refused(f"a {type(value).__name__.strip('_')}")
    done[id(value)] = made
    return made


def _key(key: object) -> object:
    if type(key) not in _PLAIN:
        raise _Refused(f"a {type(key).__name__.strip('_')} as a key")
    return key
