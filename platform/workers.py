"""One of the data-parallel workers of a training, and what it needs to know of the others."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Workers:
    """One worker among `world_size` that train the same members. device: its own; rank: its number, from 0."""

    device: torch.device
    rank: int = 0
    world_size: int = 1

    def average(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """Tensors averaged over the workers, in place; unchanged with one worker."""
        if self.world_size > 1:
            for tensor in tensors:
                torch.distributed.all_reduce(tensor, op=torch.distributed.ReduceOp.SUM)
                tensor /= self.world_size
        return tensors

    def share(self, batch_size: int) -> slice:
        """The rows of each batch that this worker takes; `batch_size` is a multiple of `world_size`."""
        return slice(batch_size * self.rank // self.world_size, batch_size * (self.rank + 1) // self.world_size)
