"""ST-GCN (Yan, Xiong and Lin, AAAI 2018), with the parameter names of the released weights."""

import torch
from torch import Tensor, nn

from platform.features.graph import spatial_configuration
from platform.features.joints import Layout
from platform.features.network import FEATURES, SkeletonNetwork

# (channels in, channels out, temporal stride) of the nine units of Section 4.1 and the one before them
_UNITS = [(3, 64, 1), (64, 64, 1), (64, 64, 1), (64, 64, 1), (64, 128, 2)]
_UNITS += [(128, 128, 1), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, FEATURES, 1)]


class _GraphConvolution(nn.Module):
    """A product for each subset of the neighbours, summed (Equation 10)."""

    def __init__(self, channels_in: int, channels_out: int, subsets: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, subsets * channels_out, 1)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        """x (N, C_in, T, V) and adjacency (K, V, V) to (N, C_out, T, V).

        Neighbours are gathered before the product, which is the same sum and cheaper where channels grow.
        """
        subsets, channels_in = len(adjacency), x.shape[1]
        gathered = torch.cat([x @ a for a in adjacency.to(x.dtype)], dim=1)  # (N, K · C_in, T, V)
        weight = self.conv.weight.view(subsets, -1, channels_in).transpose(0, 1).flatten(1)
        bias = torch.einsum("kc,kvw->cw", self.conv.bias.view(subsets, -1), adjacency)  # (C_out, V)
        return nn.functional.conv2d(gathered, weight[:, :, None, None]) + bias[:, None]


class _Unit(nn.Module):
    """A graph convolution, a temporal one, and a way around both; the first unit of the network has none."""

    def __init__(
        self, channels_in: int, channels_out: int, stride: int, subsets: int, kernel: int, dropout: float, first: bool
    ) -> None:
        super().__init__()
        self.gcn = _GraphConvolution(channels_in, channels_out, subsets)
        self.tcn = nn.Sequential(
            nn.BatchNorm2d(channels_out),
            nn.ReLU(),
            nn.Conv2d(channels_out, channels_out, (kernel, 1), (stride, 1), (kernel // 2, 0)),
            nn.BatchNorm2d(channels_out),
            nn.Dropout(0.0 if first else dropout),
        )
        self.first = first
        changes = channels_in != channels_out or stride != 1
        around = [nn.Conv2d(channels_in, channels_out, 1, (stride, 1)), nn.BatchNorm2d(channels_out)]
        self.residual = nn.Sequential(*around) if changes and not first else nn.Identity()

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        inner = self.tcn(self.gcn(x, adjacency))
        return (inner if self.first else inner + self.residual(x)).relu()


class STGCN(SkeletonNetwork):
    """Ten units over the graph of one sensor's joints. Input (N, 3, T, V, M), T a multiple of 4.

    Its state dict has the names and shapes of the released weights (yysijie/st-gcn) for NTU RGB+D.
    """

    def __init__(
        self,
        classes: int,
        layout: Layout = "kinect_v2",
        bodies: int = 2,
        kernel: int = 9,
        dropout: float = 0.5,
        edge_importance: bool = True,
    ) -> None:
        super().__init__()
        self.register_buffer("A", torch.from_numpy(spatial_configuration(layout)))
        subsets, self.joints, _ = self.A.shape
        self.classes, self.bodies = classes, bodies
        self.data_bn = nn.BatchNorm1d(3 * self.joints)
        self.st_gcn_networks = nn.ModuleList(
            _Unit(*unit, subsets, kernel, dropout, first=number == 0) for number, unit in enumerate(_UNITS)
        )
        self.edge_importance = nn.ParameterList(
            nn.Parameter(torch.ones_like(self.A), requires_grad=edge_importance) for _ in _UNITS
        )
        self.fcn = nn.Conv2d(FEATURES, classes, 1)

    def normalised(self, x: Tensor) -> Tensor:
        count, axes, frames, joints, bodies = x.shape
        series = self.data_bn(x.permute(0, 4, 3, 1, 2).reshape(count * bodies, -1, frames))
        return series.view(count, bodies, joints, axes, frames).permute(0, 1, 3, 4, 2)

    def encoded(self, x: Tensor) -> Tensor:
        for unit, importance in zip(self.st_gcn_networks, self.edge_importance, strict=True):
            x = unit(x, self.A * importance)
        return x

    def logits(self, features: Tensor) -> Tensor:
        return self.fcn(features[:, :, None, None]).flatten(1)
