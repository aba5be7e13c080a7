"""The noise and permutations of an epoch, each member's from its own generators."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from platform.population.draws import generator

_STEPS = 16  # drawn at once; a constant, so that what is drawn never depends on it


class EpochNoise:
    """Standard normal noise for latents of several parts, zero beyond a member's widths, and a permutation of a batch.

    Drawn for the whole batch, of which a data-parallel worker takes the rows `mine`: workers see what one would see.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        epochs: Sequence[int],
        parts: Sequence[str | tuple[str, ...]],
        widths: Sequence[Mapping[str, int]],
        one_a_sample: Sequence[bool],
        batch_size: int,
        mine: slice,
        device: torch.device,
        purpose: str = "",
    ) -> None:
        """epochs: each member's; parts: names of the latents' parts in `widths`, one after the other.

        purpose: names the draws, where a method draws for more than one.

        one_a_sample: whether a member has one draw for all dimensions of a part, in place of one for each; parts in a
        tuple share it.
        """
        groups = [(part,) if isinstance(part, str) else part for part in parts]
        self.widest = [[max(w[part] for w in widths) for part in group] for group in groups]
        self.own = [[[w[part] for part in group] for group in groups] for w in widths]
        self.one_a_sample, self.batch_size, self.mine = one_a_sample, batch_size, mine
        named = list(zip(seeds, epochs, strict=True))
        noise, order = (f"{purpose} {kind}".strip() for kind in ("noise", "permutation"))
        self.noise = [generator(seed, noise, epoch, device=device) for seed, epoch in named]
        self.orders = [generator(seed, order, epoch, mine.start, device=device) for seed, epoch in named]

    def step(self, step: int) -> tuple[Tensor, Tensor]:
        """Noise (members, batch, all parts) and permutations (members, batch). Steps are asked for in order."""
        position = step % _STEPS
        if position == 0:
            self._noise = torch.stack([self._block(m) for m in range(len(self.noise))], dim=1)
            shape = (_STEPS, self.mine.stop - self.mine.start)
            keys = [torch.rand(shape, generator=draw, device=draw.device) for draw in self.orders]
            self._orders = torch.stack(keys, dim=1).argsort(dim=-1)
        return self._noise[position], self._orders[position]

    def _block(self, member: int) -> Tensor:
        """(_STEPS, batch, sum of widths) of one member."""
        own, draw, single = self.own[member], self.noise[member], self.one_a_sample[member]
        drawn = [1 if single else sum(widths) for widths in own]
        shape = (_STEPS, self.batch_size, sum(drawn))
        noise = torch.randn(shape, generator=draw, device=draw.device)[:, self.mine]
        if not single and own == self.widest:
            return noise
        padded = []
        for group, widths, widest in zip(noise.split(drawn, dim=-1), own, self.widest, strict=True):
            parts = [group.expand(*group.shape[:2], w) for w in widths] if single else group.split(widths, dim=-1)
            padded += [torch.nn.functional.pad(p, (0, w - p.shape[-1])) for p, w in zip(parts, widest, strict=True)]
        return torch.cat(padded, dim=-1)
