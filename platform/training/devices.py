"""Where a fit runs."""

import torch

from platform.errors import InputError


def device_of(name: str) -> torch.device:
    """`auto` is the GPU where there is one. Float32 products there may use TF32, which seeds outweigh by far."""
    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
    except RuntimeError:
        raise InputError(f"device `{name}`: expected auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device `{name}`: this machine has no GPU that PyTorch can use; choose auto or cpu")
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    return device
