"""Where a fit runs."""

import ctypes

import torch

from platform.errors import InputError

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def device_of(name: str) -> torch.device:
    """`auto` is the GPU where there is one. Raises InputError where there is no such device.

    Float32 products on a GPU may use TF32, whose error is far below the variation over seeds. On the CPU, freed memory
    is kept by the process: otherwise each step's gradients would be allocated from the system anew.
    """
    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
    except RuntimeError:
        raise InputError(f"device `{name}`: expected auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device `{name}`: this machine has no GPU that PyTorch can use; choose auto or cpu")
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    else:
        _keep_freed_memory()
    return device


def _keep_freed_memory() -> None:
    adjust = getattr(ctypes.CDLL(None), "mallopt", None)  # only glibc has it
    if adjust is not None:
        adjust(_M_MMAP_THRESHOLD, 32 << 20)
        adjust(_M_TRIM_THRESHOLD, 1 << 30)
