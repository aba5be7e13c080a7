"""Atomic writes, locked folders, and disk errors."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from platform.errors import InputError, Unavailable


class NotWritable(Unavailable):
    """A folder cannot be written to, perhaps because the disk is full. What was finished before is kept."""

    def __init__(self, folder: Path, error: Exception) -> None:
        super().__init__(f"{folder} cannot be written ({error}); make room, and go on from there with --resume")


def write_json(path: Path, value: object) -> None:
    """Write JSON to a temporary name, then rename."""
    with writing(path.parent), whole(path) as partial:
        partial.write_text(json.dumps(value, indent=1, default=str) + "\n")


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Raises NotWritable for errors in writing to a folder."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise NotWritable(folder, error) from error


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary name for a file that is renamed to `path` once it is written, or removed on an error."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield partial
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Lock a run's folder for this process. Raises InputError where another process holds it."""
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{folder}: another process is at work there") from None
        yield
