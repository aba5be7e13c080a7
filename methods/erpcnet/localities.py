"""Localities as ERPCNet has them: the grid of cells that a partial convolution chooses from.

A convolution's kernel visits a feature map's places in a grid; a partial convolution visits the chosen ones alone
("Entropy-guided reinforced partial convolution"). Cells are numbered row by row.
"""

import torch
from torch import Tensor
from torch.nn import functional


def cells(side: tuple[int, int], kernel: int, stride: int, padding: int) -> tuple[int, int]:
    """Rows and columns of the grid: (H + 2p − k) / q + 1 and the same of W. side: (H, W) of the map."""
    rows, columns = ((length + 2 * padding - kernel) // stride + 1 for length in side)
    return rows, columns


def crops(maps: Tensor, chosen: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """(N, C, k, k): what the kernel sees at each map's chosen cell, zeros beyond the border.

    maps: (N, C, H, W); chosen: (N,) cells.
    """
    _, columns = cells((maps.shape[2], maps.shape[3]), kernel, stride, padding)
    chosen, window = chosen.to(maps.device), torch.arange(kernel, device=maps.device)
    tall = stride * (chosen // columns)[:, None, None] + window[:, None]  # (N, k, 1)
    wide = stride * (chosen % columns)[:, None, None] + window  # (N, 1, k)
    own = torch.arange(len(maps), device=maps.device)[:, None, None]
    return functional.pad(maps, [padding] * 4)[own, :, tall, wide].permute(0, 3, 1, 2)


def all_crops(maps: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """(N, G, C, k, k): what the kernel sees at every cell, zeros beyond the border. maps: (N, C, H, W)."""
    found = functional.pad(maps, [padding] * 4).unfold(2, kernel, stride).unfold(3, kernel, stride)
    return found.permute(0, 2, 3, 1, 4, 5).flatten(1, 2)  # from (N, C, rows, columns, k, k)


def boxes(
    chosen: Tensor, side: tuple[int, int], image: tuple[int, int], kernel: int, stride: int, padding: int
) -> Tensor:
    """(N, 4): the cells' squares on the image in pixels, x0, y0, x1, y1, cut at its border, as the paper draws them.

    A map is laid over its image edge to edge. chosen: (N,) cells; side: (H, W) of the map; image: (height, width).
    """
    _, columns = cells(side, kernel, stride, padding)
    corner = torch.stack([chosen % columns, chosen // columns], dim=-1) * stride - padding  # (N, 2), x before y
    places = torch.cat([corner, corner + kernel], dim=-1).double()
    height, width = (pixels / length for pixels, length in zip(image, side, strict=True))
    scaled = places * places.new_tensor([width, height, width, height])
    return scaled.clamp_min(0.0).minimum(scaled.new_tensor([image[1], image[0], image[1], image[0]]))
