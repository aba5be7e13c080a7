"""What is written to disk: whole files or none, folders that one process holds, and what a disk can do wrong."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from platform.errors import InputError, Unavailable


class NotWritable(Unavailable):
    """A folder that cannot be written to: the disk is full, perhaps. Whatever was finished before stands."""

    def __init__(self, folder: Path, error: Exception) -> None:
        super().__init__(f"{folder} cannot be written ({error}); make room, and go on from there with --resume")


def write_json(path: Path, value: object) -> None:
    """Write JSON to a temporary name, then rename."""
    with writing(path.parent), whole(path) as partial:
        partial.write_text(json.dumps(value, indent=1, default=str) + "\n")


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Raises NotWritable for what goes wrong in writing to a folder."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise NotWritable(folder, error) from error


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary name for a file that becomes `path` once it is written, and is gone where it cannot be."""
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
    """Hold a run's folder for this process. Raises InputError where another one does."""
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{folder}: another process is at work there") from None
        yield
