"""Released weights as files: read without running anything in them, and compared with a network by name."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from platform.errors import InputError


def read_weights(path: Path, where: str) -> dict[str, Tensor]:
    """A state dict on the CPU: .pt (read without unpickling code) or .safetensors.

    where: what errors begin with, the option and its value. Raises InputError where the file is no such thing.
    """
    if not path.is_file():
        raise InputError(f"{where}: no such file")
    try:
        if path.suffix == ".safetensors":
            tensors = load_file(path)
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{where}: neither a PyTorch file of weights alone nor safetensors ({reason})") from error
    if not isinstance(tensors, Mapping) or not all(isinstance(t, Tensor) for t in tensors.values()):
        raise InputError(f"{where}: expected a state dict, names to tensors")
    return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}  # as DataParallel saves them


def check_names_and_shapes(where: str, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Raise InputError at the first weight that is lacking, unknown, or of another shape."""
    for name, tensor in expected.items():
        if name not in found:
            raise InputError(f"{where}: lacks `{name}`")
        if found[name].shape != tensor.shape:
            raise InputError(f"{where}: `{name}` is {tuple(found[name].shape)}, expected {tuple(tensor.shape)}")
    if unknown := sorted(set(found) - set(expected)):
        raise InputError(f"{where}: has `{unknown[0]}`, which no part of the network takes")
