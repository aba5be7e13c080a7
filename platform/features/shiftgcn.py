"""Shift-GCN (Cheng et al., CVPR 2020), joint stream, with the parameter names of the released weights."""

import math

import torch
from torch import Tensor, nn

from platform.features.network import FEATURES, SkeletonNetwork
from platform.features.shift import TemporalShift, joint_shift

# (channels in, channels out, temporal stride) of the ten units (Section 4.1, after 2s-AGCN)
_UNITS = [(3, 64, 1), (64, 64, 1), (64, 64, 1), (64, 64, 1), (64, 128, 2)]
_UNITS += [(128, 128, 1), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, FEATURES, 1)]
_LINEAR_DECAY = 10.0  # times the weight decay, for the spatial product, in the released training script


class _SpatialShift(nn.Module):
    """Shift, mask, product, shift back, batch normalisation, and a way around (Equations 4 and 5)."""

    def __init__(self, channels_in: int, channels_out: int, joints: int) -> None:
        super().__init__()
        self.Linear_weight = nn.Parameter(torch.randn(channels_in, channels_out) * math.sqrt(1 / channels_out))
        self.Linear_bias = nn.Parameter(torch.zeros(1, 1, channels_out))
        self.Feature_Mask = nn.Parameter(torch.zeros(1, joints, channels_in))
        self.register_buffer("shift_in", joint_shift(joints, channels_in, 1))
        self.register_buffer("shift_out", joint_shift(joints, channels_out, -1))
        self.bn = nn.BatchNorm1d(joints * channels_out)
        self.down = _product(channels_in, channels_out) if channels_in != channels_out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, T, V) to (N, C_out, T, V)."""
        count, channels, frames, joints = x.shape
        shifted = x.permute(0, 2, 3, 1).reshape(count * frames, joints * channels).index_select(1, self.shift_in)
        masked = shifted.view(-1, joints, channels) * (self.Feature_Mask.tanh() + 1)
        product = (masked @ self.Linear_weight + self.Linear_bias).flatten(1)
        normal = self.bn(product.index_select(1, self.shift_out)).view(count, frames, joints, -1)
        return (normal.permute(0, 3, 1, 2) + self.down(x)).relu()


class _TemporalShift(nn.Module):
    """Shift by learned offsets, pointwise product, shift again (Section 3.3)."""

    def __init__(self, channels: int, stride: int, stride_ahead: float) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)
        self.shift_in = TemporalShift(channels)
        self.temporal_linear = nn.Conv2d(channels, channels, 1)
        nn.init.kaiming_normal_(self.temporal_linear.weight, mode="fan_out")
        self.shift_out = TemporalShift(channels, stride, stride_ahead if stride > 1 else 0.0)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, V) to (N, C, T // stride, V)."""
        return self.bn2(self.shift_out(self.temporal_linear(self.shift_in(self.bn(x))).relu()))


class _Residual(nn.Module):
    """A strided pointwise product around a unit that changes its width."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 1, stride=(stride, 1))
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out")
        nn.init.zeros_(self.conv.bias)
        self.bn = nn.BatchNorm2d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))


class _Unit(nn.Module):
    """A spatial and a temporal shift with a way around both; the first unit of the network has none."""

    def __init__(
        self, channels_in: int, channels_out: int, stride: int, joints: int, stride_ahead: float, first: bool
    ) -> None:
        super().__init__()
        self.gcn1 = _SpatialShift(channels_in, channels_out, joints)
        self.tcn1 = _TemporalShift(channels_out, stride, stride_ahead)
        self.first = first
        changes = channels_in != channels_out or stride != 1
        self.residual = _Residual(channels_in, channels_out, stride) if changes and not first else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        inner = self.tcn1(self.gcn1(x))
        return (inner if self.first else inner + self.residual(x)).relu()


def _product(channels_in: int, channels_out: int) -> nn.Sequential:
    product = nn.Conv2d(channels_in, channels_out, 1)
    nn.init.kaiming_normal_(product.weight, mode="fan_out")
    nn.init.zeros_(product.bias)
    return nn.Sequential(product, nn.BatchNorm2d(channels_out))


class ShiftGCN(SkeletonNetwork):
    """Ten units of spatial and temporal shifts. Input (N, 3, T, V, M), T a multiple of 4.

    Its state dict has the names and shapes of the released weights (kchengiva/Shift-GCN), where V = 25 and M = 2.
    stride_ahead: see `ShiftGCNConfig`.
    """

    def __init__(self, classes: int, joints: int = 25, bodies: int = 2, stride_ahead: float = 0.5) -> None:
        super().__init__()
        self.classes, self.joints, self.bodies = classes, joints, bodies
        self.data_bn = nn.BatchNorm1d(bodies * joints * 3)
        for number, unit in enumerate(_UNITS, start=1):
            self.add_module(f"l{number}", _Unit(*unit, joints, stride_ahead, first=number == 1))
        self.fc = nn.Linear(FEATURES, classes)
        nn.init.normal_(self.fc.weight, 0, math.sqrt(2 / classes))

    def normalised(self, x: Tensor) -> Tensor:
        count, axes, frames, joints, bodies = x.shape
        series = self.data_bn(x.permute(0, 4, 3, 1, 2).reshape(count, -1, frames))
        return series.view(count, bodies, joints, axes, frames).permute(0, 1, 3, 4, 2)

    def encoded(self, x: Tensor) -> Tensor:
        for number in range(1, len(_UNITS) + 1):
            x = self.get_submodule(f"l{number}")(x)
        return x

    def logits(self, features: Tensor) -> Tensor:
        return self.fc(features)

    def parameter_groups(self, weight_decay: float) -> list[dict]:
        """The masks do not decay, and the spatial products decay ten times as fast (the released training script)."""
        groups: dict[float, list[nn.Parameter]] = {}
        for name, parameter in self.named_parameters():
            part = name.rpartition(".")[2]
            times = {"Feature_Mask": 0.0, "Linear_weight": _LINEAR_DECAY}.get(part, 1.0)
            groups.setdefault(times, []).append(parameter)
        return [{"params": some, "weight_decay": times * weight_decay} for times, some in groups.items()]

    def after_backward(self) -> None:
        for module in self.modules():
            if isinstance(module, TemporalShift):
                module.even_gradient()
