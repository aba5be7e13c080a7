import math

import pytest
import torch

from platform.features.shift import TemporalShift, joint_shift, shift_in_time


def slow_shift(x, offset, stride):
    """Frame by frame, as the released kernel interpolates."""
    count, channels, frames, joints = x.shape
    moved = torch.zeros(count, channels, frames // stride, joints, dtype=x.dtype)
    for c in range(channels):
        for t in range(frames // stride):
            first = math.floor(offset[c])
            fraction = offset[c] - first
            for frame, weight in ((stride * t + first, 1 - fraction), (stride * t + first + 1, fraction)):
                if 0 <= frame < frames:
                    moved[:, c, t] += weight * x[:, c, frame]
    return moved


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("frames", [8, 9])
def test_a_shift_in_time_is_the_kernels_interpolation(stride, frames):
    offset = torch.tensor([0.0, 0.3, -0.3, 2.0, -2.75, 7.5, -8.25, 30.0, -30.5], dtype=torch.double)
    x = torch.randn(2, len(offset), frames, 3, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(shift_in_time(x, offset, stride), slow_shift(x, offset, stride))


@pytest.mark.parametrize("stride", [1, 2])
def test_a_shift_in_time_has_the_right_slopes(stride):
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(2, 5, 6, 2, dtype=torch.double, generator=draw, requires_grad=True)
    offset = torch.tensor([0.4, -1.3, 2.6, -7.5, 0.5], dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, offset: shift_in_time(x, offset, stride), (x, offset))


@pytest.mark.parametrize(("joints", "channels"), [(25, 3), (25, 64), (20, 64), (4, 7)])
def test_a_joint_shift_takes_channel_c_from_the_joint_c_places_on(joints, channels):
    x = torch.arange(joints * channels).view(joints, channels)
    shifted = x.flatten()[joint_shift(joints, channels, 1)].view(joints, channels)
    for v in range(joints):
        for c in range(channels):
            assert shifted[v, c] == x[(v + c) % joints, c]
    assert torch.equal(shifted.flatten()[joint_shift(joints, channels, -1)], x.flatten())


def test_a_strided_shift_looks_ahead_and_is_learned_by_signs():
    shift = TemporalShift(3, stride=2, ahead=0.5)
    with torch.no_grad():
        shift.ypos.copy_(torch.tensor([0.0, 0.5, -0.5]))
    x = torch.arange(8.0).view(1, 1, 8, 1).repeat(1, 3, 1, 1)
    torch.testing.assert_close(shift(x)[0, :, :3, 0], torch.tensor([[0.5, 2.5, 4.5], [1, 3, 5], [0, 2, 4]]))
    (shift(x)[:, :, :3] * torch.tensor([5.0, -7.0, 0.0]).view(1, 3, 1, 1)).sum().backward()
    shift.even_gradient()
    torch.testing.assert_close(shift.ypos.grad, torch.tensor([1e-2, -1e-2, 1e-4]))
