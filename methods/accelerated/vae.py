"""Parts of the variational autoencoders' steps for populations, each with its gradient written out.

At a batch of 32, autograd's bookkeeping of many small operations takes up to a third of a step; both decodings of a
decoder are one product here. `gradient` is a loss's derivative throughout.
"""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from methods.vae import Latent


def latent_gradient(latent: Latent, gradient_z: Tensor, weight: Tensor) -> Tensor:
    """Of a latent's head, from that of z and the divergence's weight (members,)."""
    share = (weight / latent.mean.shape[1])[:, None, None]
    gradient = torch.empty(*latent.mean.shape[:2], 2 * latent.mean.shape[2], device=gradient_z.device)
    gradient_mean, gradient_logvar = gradient.chunk(2, dim=-1)
    torch.addcmul(gradient_z, latent.mean, share, out=gradient_mean)
    torch.mul(gradient_z, latent.noise, out=gradient_logvar)
    gradient_logvar.mul_(latent.deviation).addcmul_(latent.variance - 1.0, share).mul_(0.5)
    return gradient


def by_variance(latent: Latent, chosen: Tensor) -> Latent:
    """z = mean + deviation²·noise for chosen members (CADA-VAE's released code). chosen: (members,) bool."""
    there = chosen[:, None, None]
    z = torch.addcmul(latent.mean, latent.deviation, torch.where(there, latent.deviation * latent.noise, latent.noise))
    # twice as much, because ∂variance/∂log-variance has no factor ½
    return replace(latent, z=z, noise=torch.where(there, 2 * latent.deviation * latent.noise, latent.noise))


@dataclass(frozen=True)
class Distance:
    """The 2-Wasserstein distance of two latents' distributions, sample by sample (CADA-VAE's L_DA).

    value: (members,), averaged over the batch; mean, deviation: (members, batch, width), its gradients in the first
    means and deviations. The second one's are their opposites.
    """

    value: Tensor
    mean: Tensor
    deviation: Tensor

    @classmethod
    def between(cls, first: Latent, second: Latent) -> Self:
        mean, deviation = first.mean - second.mean, first.deviation - second.deviation
        distance = (mean.square() + deviation.square()).sum(dim=2, keepdim=True).sqrt_()
        share = torch.where(distance > 0, 1 / distance, 0.0) / mean.shape[1]  # where both are the same, no direction
        return cls(distance.mean(dim=(1, 2)), mean * share, deviation * share)

    def gradients(self, first: Latent, second: Latent, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Of both heads (members, batch, 2·width). weight: (members,)."""
        share = weight[:, None, None]
        mean, logvar = self.mean * share, self.deviation * (0.5 * share)
        heads = (torch.cat([mean, logvar * latent.deviation], dim=-1) for latent in (first, second))
        return next(heads), next(heads).neg_()


@dataclass(frozen=True)
class Reconstruction:
    """k decodings of one target, batch after batch. difference: (members, k, batch, width); errors: (members, k).

    An error is the mean over elements of squared differences, or of their absolute values where `absolute`.
    """

    difference: Tensor
    errors: Tensor
    absolute: Tensor | None = None

    @classmethod
    def of(cls, decoded: Tensor, target: Tensor, absolute: Tensor | None = None) -> Self:
        """decoded: (members, k·batch, width), which is overwritten; target: (members, batch, width).

        absolute: (members,) bool, or None where no member's errors are.
        """
        members, batch, width = target.shape
        difference = decoded.view(members, -1, batch, width).sub_(target[:, None])
        errors = torch.linalg.vector_norm(difference, dim=(2, 3)).square()
        if absolute is not None:
            errors = torch.where(absolute[:, None], difference.abs().sum(dim=(2, 3)), errors)
        return cls(difference, errors / (batch * width), absolute)

    def gradient(self, weight: Tensor) -> Tensor:
        """Of the decodings, (members, k·batch, width), from the errors' weights (members, k); overwrites difference."""
        members, _, batch, width = self.difference.shape
        scale = (weight * (2.0 / (batch * width)))[:, :, None, None]
        gradient = self.difference
        if self.absolute is not None:
            gradient = torch.where(self.absolute[:, None, None, None], 0.5 * gradient.sign(), gradient)
        return gradient.mul_(scale).view(members, -1, width)


def crossed(z_x: Tensor, z_y: Tensor, own: int) -> tuple[Tensor, Tensor]:
    """What the decoders of two modalities are given: their own latents, then the other modality's, batch after batch.

    z_x: (members, batch, own + z), whose first `own` columns are the first modality's alone; z_y: (members, batch, z).
    Gives (members, 2·batch, own + z): z_x, then its own columns beside z_y; and (members, 2·batch, z): z_y, then z_x
    without its own columns.
    """
    swapped = torch.cat([z_x[..., :own], z_y], dim=-1)
    return torch.cat([z_x, swapped], dim=1), torch.cat([z_y, z_x[..., own:]], dim=1)


def crossed_gradients(for_x: Tensor, for_y: Tensor, own: int) -> tuple[Tensor, Tensor]:
    """Of z_x and z_y, from those of what `crossed` gave; `for_x` is overwritten."""
    batch = for_x.shape[1] // 2
    gradient_x, swapped = for_x[:, :batch], for_x[:, batch:]
    gradient_x[..., :own] += swapped[..., :own]
    gradient_x[..., own:] += for_y[:, batch:]
    return gradient_x, for_y[:, :batch] + swapped[..., own:]
