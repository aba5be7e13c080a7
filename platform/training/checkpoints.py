"""Checkpoints: one safetensors file with a JSON record, replaced whole."""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from platform.errors import InputError, Unavailable


class NotWritable(Unavailable):
    """A folder that cannot be written to: the disk is full, perhaps. Whatever was finished before stands."""

    def __init__(self, folder: Path, error: Exception) -> None:
        super().__init__(f"{folder} cannot be written ({error}); make room, and go on from there with --resume")


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
    """Write to a temporary name, then rename: a kill leaves the former checkpoint or the new one, whole."""
    # copies, because members may share a tensor and the format wants each name its own memory
    copies = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    with writing(path.parent), whole(path) as partial:
        save_file(copies, partial, metadata={"record": json.dumps(record)})


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Tensors on the CPU and the record, or None where there is no checkpoint."""
    if not path.exists():
        return None
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["record"])  # noqa: SIM118


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
