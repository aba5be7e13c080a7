"""What the small models' trainings share."""

import math
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor, nn


class _Patches(nn.Conv2d):
    """A patch embedding as one matrix product, several times quicker on a CPU than the convolution that it equals."""

    def forward(self, pictures: Tensor) -> Tensor:
        edge, (count, channels, side, _) = self.kernel_size[0], pictures.shape
        grid = side // edge
        patches = pictures.view(count, channels, grid, edge, grid, edge).permute(0, 2, 4, 1, 3, 5)
        embedded = nn.functional.linear(patches.reshape(count, grid * grid, -1), self.weight.flatten(1))
        return embedded.transpose(1, 2).reshape(count, -1, grid, grid)


def begin(model: nn.Module) -> None:
    """Give a small transformer first weights that keep signals at about their size, and quick patches.

    With the library's, 0.02 throughout, made for 768 channels, hundreds of steps pass before it tells anything apart.
    """
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2:
            continue
        if "vision_model" in name and "position_embedding" in name:
            nn.init.normal_(parameter, std=0.2)
        elif "embedding" in name and "patch" not in name:
            nn.init.normal_(parameter, std=1 / math.sqrt(parameter.shape[-1]))
        else:
            inward = any(part in name for part in ("out_proj", "fc2", "output.dense"))
            nn.init.normal_(parameter, std=(0.5 if inward else 1) / math.sqrt(parameter[0].numel()))
    quick_patches(model)


def quick_patches(model: nn.Module) -> None:
    """Compute the patch embedding of a vision transformer by a matrix product; its parameters stay what they are."""
    for module in model.modules():
        if isinstance(getattr(module, "patch_embedding", None), nn.Conv2d):
            module.patch_embedding.__class__ = _Patches


def plain_patches(model: nn.Module) -> None:
    """Undo `quick_patches`."""
    for module in model.modules():
        if isinstance(module, _Patches):
            module.__class__ = nn.Conv2d


def normalised(frames: np.ndarray) -> Tensor:
    """(..., 3, S, S) uint8 to float32 between −1 and 1, as the saved image processors do."""
    return torch.from_numpy(np.ascontiguousarray(frames)).float().div_(127.5).sub_(1)


def fit(parameters: Iterable[nn.Parameter], steps: int, rate: float, loss: Callable[[], Tensor]) -> None:
    """AdamW, with a rate that rises over 50 steps and falls along a cosine. loss: of the next batch."""
    parameters = list(parameters)
    optimiser = torch.optim.AdamW(parameters, rate, weight_decay=0.05)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 50) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        optimiser.zero_grad()
        loss().backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
