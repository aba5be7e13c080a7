"""What the variational autoencoders share: a latent and its divergence, and errors of reconstructions.

Leading axes, such as the members of a population, pass through.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

# of a linear encoder's log-variance, below which latents are hardly more than the noise that they begin as: a bit more
# than ln 4, which halves it (`platform/training/movement.py`)
LEAST_MOVEMENT = 1.5


@dataclass(frozen=True)
class Latent:
    """z = mean + deviation·noise, and its KL(N(mean, deviation²) ‖ N(0, 1)).

    z and the others: (…, batch, width); divergence: (…,), summed over the width, averaged over the batch.
    """

    z: Tensor
    divergence: Tensor
    mean: Tensor
    deviation: Tensor
    variance: Tensor
    noise: Tensor

    @classmethod
    def sample(cls, head: Tensor, noise: Tensor) -> Self:
        """head: (…, batch, 2·width), means then log-variances."""
        mean, logvar = head.chunk(2, dim=-1)
        deviation = (0.5 * logvar).exp_()
        variance = deviation.square()
        divergence = (mean.square() + variance - logvar).sum(dim=(-2, -1)) / head.shape[-2] - mean.shape[-1]
        return cls(torch.addcmul(mean, deviation, noise), 0.5 * divergence, mean, deviation, variance, noise)


def squared_error(decoded: Tensor, target: Tensor) -> Tensor:
    """(…,) the mean over elements of squared differences. Both (…, batch, width)."""
    return (decoded - target).square().mean(dim=(-2, -1))


def wasserstein(first: Latent, second: Latent) -> Tensor:
    """(…,) the 2-Wasserstein distance of two latents' distributions, sample by sample (CADA-VAE's L_DA)."""
    squared = ((first.mean - second.mean).square() + (first.deviation - second.deviation).square()).sum(dim=-1)
    apart = squared > 0  # the square root has no gradient at zero, where both are the same
    return torch.where(apart, torch.where(apart, squared, 1.0).sqrt(), 0.0).mean(dim=-1)
