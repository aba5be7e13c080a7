"""Checkpoints: one safetensors file with a JSON record, replaced whole."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from platform.files import whole, writing


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
    """Write to a temporary name, then rename: a kill leaves the former checkpoint or the new one, whole."""
    # copies: members may share a tensor, but safetensors needs separate memory for each name
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
