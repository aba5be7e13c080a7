"""Random draws that a seed names: what is drawn depends on the names alone, never on what was drawn before."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def generator(*names: object, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator for one purpose, as in `generator(seed, "shuffle", epoch)`.

    Two runs that were cut off at different moments draw the same numbers, so a checkpoint holds no generator state.
    """
    digest = hashlib.sha256(repr(names).encode()).digest()
    return torch.Generator(device=device).manual_seed(int.from_bytes(digest[:7], "big"))


@contextmanager
def named_draws(device: torch.device, *names: object) -> Iterator[None]:
    """What draws from torch's own generators, as initialisers, dropout and torchvision do, draws what the names say."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(torch.randint(1 << 62, (), generator=generator(*names))))
        yield


def shuffled_rows(count: int, batch_size: int, draw: torch.Generator, steps: int | None = None) -> Tensor:
    """(steps, batch_size) row indices of one pass over `count` rows, on the generator's device, or of so many steps.

    Shuffles of all rows follow one another, and batches run on from one to the next: in a pass every row comes once,
    and the last batch is filled with rows of a second shuffle, so that all batches have one shape.
    """
    steps = -(-count // batch_size) if steps is None else steps
    shuffles = [torch.randperm(count, generator=draw, device=draw.device)]
    while count * len(shuffles) < steps * batch_size:
        shuffles.append(torch.randperm(count, generator=draw, device=draw.device))
    return torch.cat(shuffles)[: steps * batch_size].view(steps, batch_size)
