"""The two shifts of Shift-GCN in plain PyTorch: along time by a learned fraction of frames, and from joint to joint.

Cheng et al., "Skeleton-Based Action Recognition with Shift Graph Convolutional Network", CVPR 2020, Sections 3.2, 3.3.
"""

import torch
from torch import Tensor, nn


def shift_in_time(x: Tensor, offset: Tensor, stride: int = 1) -> Tensor:
    """x (N, C, T, V) with channel c moved by offset[c] frames: (N, C, T // stride, V).

    Output frame t is the input at frame stride · t + offset[c], linear between frames and zero beyond both ends
    (Section 3.3, adaptive temporal shift). Differentiable in x and offset (C,).
    """
    count, channels, frames, joints = x.shape
    whole = offset.detach().floor()
    fraction = (offset - whole).to(x.dtype).view(1, -1, 1, 1)
    padded = nn.functional.pad(x, (0, 0, 2, 2))
    between = torch.lerp(padded[:, :, :-1], padded[:, :, 1:], fraction)  # frames −2 … T, the first and last all zero
    taken = torch.arange(frames // stride, device=x.device) * stride + whole.long()[:, None]  # (C, T // stride)
    rows = (taken + 2).clamp(0, frames + 2) + torch.arange(channels, device=x.device)[:, None] * (frames + 3)
    # whole rows of joints are copied, several times faster than a gather of single numbers
    return between.flatten(1, 2).index_select(1, rows.flatten()).view(count, channels, -1, joints)


def joint_shift(joints: int, channels: int, sign: int) -> Tensor:
    """(joints · channels,) int64: which place of a flattened (joints, channels) feature each place takes.

    Channel c of joint v comes from joint v + sign · c, around the end (Section 3.2, non-local shift). With sign −1 it
    is the inverse of sign 1.
    """
    place = torch.arange(joints * channels).view(joints, channels)
    return ((place + sign * torch.arange(channels) * channels) % (joints * channels)).flatten()


class TemporalShift(nn.Module):
    """`shift_in_time` with one learned offset a channel, drawn from ±1 frame.

    Named as in the released weights: `ypos` are the offsets; `xpos` would shift across joints and is always zero there.
    ahead: frames that are added to every offset; the released kernel looks half a frame ahead where it strides.
    """

    def __init__(self, channels: int, stride: int = 1, ahead: float = 0.0) -> None:
        super().__init__()
        self.stride, self.ahead = stride, ahead
        self.register_buffer("xpos", torch.zeros(channels))
        self.ypos = nn.Parameter(torch.empty(channels).uniform_(-1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, V) to (N, C, T // stride, V)."""
        return shift_in_time(x, self.ypos + self.ahead, self.stride)

    @torch.no_grad()
    def even_gradient(self) -> None:
        """Give every offset's gradient one length and keep its sign, as the released kernel does.

        Without it an offset's gradient, a sum over all frames and joints, would outgrow the other parameters' by far.
        """
        if self.ypos.grad is not None:
            grad = self.ypos.grad
            grad.copy_(torch.where(grad == 0, 1e-4, grad.sign() * 1e-2))
