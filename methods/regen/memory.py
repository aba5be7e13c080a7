"""Out of memory, in one line that says what to lower."""

from collections.abc import Iterator
from contextlib import contextmanager
from traceback import clear_frames

import torch

from methods.regen.config import ReGenConfig
from platform.errors import InputError

_OF_THE_CPU = ("can't allocate memory", "not enough memory")  # in PyTorch's RuntimeError, on Linux and elsewhere


@contextmanager
def enough_memory(config: ReGenConfig, frames: int) -> Iterator[None]:
    """Inside, a device or machine without memory for a tensor raises an InputError that names the fields to change.

    frames: of a clip. Other errors pass.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _is_of_memory(error):
            raise
        clear_frames(error.__traceback__)  # whose tensors would be held as long as the error is
        raise InputError(f"out of memory ({_beginning(str(error))}): {_advice(config, frames)}") from None


def _is_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in _OF_THE_CPU)


def _beginning(said: str) -> str:
    """What was asked for, without the allocator's counts."""
    first = (said.splitlines() or ["MemoryError"])[0].rpartition("DefaultCPUAllocator: ")[2]
    return ". ".join(first.split(". ")[:2]).rstrip(".")[:200]


def _advice(config: ReGenConfig, frames: int) -> str:
    lower = [f"batch_size={config.batch_size}", f"beams={config.beams}", f"max_tokens={config.max_tokens}"]
    found = [f"lower {', '.join(lower)} or the {frames} frames of a clip (import again with fewer)"]
    if config.accumulation < config.batch_size:
        found.append(f"raise accumulation={config.accumulation} (up to {config.batch_size})")
    if not config.checkpointing:
        found.append("set checkpointing=true (now false)")
    if config.precision == "float32":
        found.append("set precision=bfloat16 (now float32)")
    if not config.lora_rank:
        found.append("set lora_rank=16 (now 0, all weights)")
    return ", or ".join(found)
