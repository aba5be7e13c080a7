"""What the variational autoencoders share: latents with their divergence, and reconstruction errors, for populations.

Each is one node of autograd with its gradient by hand: at a batch of 32, a step of small networks spends as long in
the bookkeeping of small operations as in its products.
"""

from typing import Any

import torch
from torch import Tensor


def sampled_latent(head: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """z = mean + exp(logvar / 2)·noise, and KL(N(mean, exp(logvar)) ‖ N(0, 1)) summed over z, averaged over the batch.

    head: (members, batch, 2·z), means then log-variances; noise: (members, batch, z). Gives z (members, batch, z) and
    the divergence (members,).
    """
    return _SampledLatent.apply(head, noise)


def reconstruction_errors(decoded: Tensor, target: Tensor) -> Tensor:
    """(members, k) mean squared errors of k reconstructions of one target, which stand batch after batch.

    decoded: (members, k·batch, width); target: (members, batch, width).
    """
    return _ReconstructionErrors.apply(decoded, target)


class _SampledLatent(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, head: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        mean, logvar = head.chunk(2, dim=-1)
        deviation = (0.5 * logvar).exp_()
        variance = deviation.square()
        ctx.save_for_backward(mean, deviation, variance, noise)
        divergence = (mean.square() + variance - logvar).sum(dim=(1, 2))
        return torch.addcmul(mean, deviation, noise), 0.5 * (divergence / head.shape[1] - mean.shape[2])

    @staticmethod
    def backward(ctx: Any, slope_z: Tensor, slope_divergence: Tensor) -> tuple[Tensor, None]:
        mean, deviation, variance, noise = ctx.saved_tensors
        share = (slope_divergence / mean.shape[1])[:, None, None]
        slope = mean.new_empty(*mean.shape[:2], 2 * mean.shape[2])
        slope_mean, slope_logvar = slope.chunk(2, dim=-1)
        torch.addcmul(slope_z, mean, share, out=slope_mean)
        torch.mul(slope_z * noise, deviation, out=slope_logvar)
        slope_logvar.addcmul_(variance - 1.0, share).mul_(0.5)
        return slope, None


class _ReconstructionErrors(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, decoded: Tensor, target: Tensor) -> Tensor:
        members, batch, width = target.shape
        difference = decoded.view(members, -1, batch, width) - target[:, None]
        ctx.save_for_backward(difference)
        return torch.linalg.vector_norm(difference, dim=(2, 3)).square() / (batch * width)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        (difference,) = ctx.saved_tensors
        members, count, batch, width = difference.shape
        scaled = difference * (slope * (2.0 / (batch * width)))[:, :, None, None]
        return scaled.view(members, count * batch, width), None
