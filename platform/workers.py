"""One of the data-parallel workers of a training, and what it needs to know of the others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_TOGETHER = 1 << 26  # bytes that are sent at once: many small tensors would each wait for all workers


@dataclass(frozen=True)
class Workers:
    """One worker among `world_size` that train the same members. device: its own; rank: its number, from 0."""

    device: torch.device
    rank: int = 0
    world_size: int = 1

    def average(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """Tensors averaged over the workers, in place; unchanged with one worker.

        All workers give tensors of the same shapes in the same order. They are sent together, up to 64 MiB at once.
        """
        if self.world_size > 1:
            for several in _together(tensors):
                if len(several) == 1:
                    self._average(several[0])
                    continue
                joined = torch.cat([tensor.flatten() for tensor in several])
                self._average(joined)
                for tensor, mean in zip(several, joined.split([t.numel() for t in several]), strict=True):
                    tensor.copy_(mean.view_as(tensor))
        return tensors

    def share(self, batch_size: int) -> slice:
        """The rows of each batch that this worker takes; `batch_size` is a multiple of `world_size`."""
        return slice(batch_size * self.rank // self.world_size, batch_size * (self.rank + 1) // self.world_size)

    def _average(self, tensor: Tensor) -> None:
        torch.distributed.all_reduce(tensor, op=torch.distributed.ReduceOp.SUM)
        tensor /= self.world_size


def _together(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """The tensors in their order, neighbours of one kind and device in one list while they are few bytes."""
    found: list[Tensor] = []
    size = 0
    for tensor in tensors:
        alike = found and (found[0].dtype, found[0].device) == (tensor.dtype, tensor.device)
        if found and (not alike or size + tensor.nbytes > _TOGETHER):
            yield found
            found, size = [], 0
        found.append(tensor)
        size += tensor.nbytes
    if found:
        yield found
