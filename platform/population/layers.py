"""Linear layers stacked along a leading member axis. Members may differ in width: the rest is zero and stays zero."""

from collections.abc import Sequence

import torch
from torch import Tensor


def stacked_linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x: (members, rows, in), weight: (members, in, out), bias: (members, 1, out); gives (members, rows, out)."""
    return torch.baddbmm(bias, x, weight)


def xavier(fan_in: int, fan_out: int, gain: float, draw: torch.Generator) -> Tensor:
    """(fan_in, fan_out) uniform in ±gain·sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010), on the CPU."""
    bound = gain * (6.0 / (fan_in + fan_out)) ** 0.5
    return (2 * torch.rand(fan_in, fan_out, generator=draw) - 1) * bound


def stack_padded(matrices: Sequence[Tensor]) -> Tensor:
    """Matrices of any shapes as one (members, rows, columns) tensor, zero where a member is smaller.

    Zero weights beyond a member's width keep its activations, and so its gradients, at exactly zero there: a member of
    a population computes what it would compute alone.
    """
    rows, columns = (max(m.shape[axis] for m in matrices) for axis in (0, 1))
    stacked = matrices[0].new_zeros(len(matrices), rows, columns)
    for member, matrix in enumerate(matrices):
        stacked[member, : matrix.shape[0], : matrix.shape[1]] = matrix
    return stacked
