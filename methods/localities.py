"""Localities as ERPCNet has them: the grid that a partial convolution chooses from, and what a choice is worth.

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


def entropy(values: Tensor) -> Tensor:
    """(N,): Entropy(e) of a region (Eq. 8), as the mean over its places of the entropy over the channels.

    The paper does not define p(e_ijk). Here it is a channel's share of what is active at its place,
    |e_ijk| / Σ_k |e_ijk|, and a place where nothing is active has no entropy: many channels at work are much
    information. So Eq. 7 gives 1 on average where what there is fills the image, as in SUN's scenes, and more for the
    regions of an object before a plain background: a tenth more on maps made for this, and the paper reports a mean of
    1.12, and 1.09 on SUN. It was measured on made maps, not on ResNet's, of which the other readings did worse. Sums
    over all entries make 5 × 5 places of 14 × 14 worth at most 0.84 of an even map. A softmax over all entries is
    uniform where nothing is active, so that β leads to the empty regions, and the largest entry rules it elsewhere. A
    histogram of the values depends on its bins and on the largest value.

    values: (N, C, …), channels second.
    """
    return _by_place(values).flatten(1).mean(dim=1)


def entropy_ratio(crops: Tensor, maps: Tensor) -> Tensor:
    """(N,): β, a region's entropy by the whole map's (Eq. 7), 1 for a map without any. Both (N, C, …)."""
    return _ratio(entropy(crops), entropy(maps))


def entropy_ratios(maps: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """(N, G): β of every cell, which is `entropy_ratio` of `all_crops` without making the crops. maps: (N, C, H, W)."""
    by_place = _by_place(maps)
    own = all_crops(by_place[:, None], kernel, stride, padding).flatten(2).mean(dim=2)
    return _ratio(own, by_place.flatten(1).mean(dim=1)[:, None])


def reward(joint: Tensor, global_: Tensor, labels: Tensor, ratio: Tensor) -> Tensor:
    """(n,): r_t (Eq. 6), in 0 … 2β.

    joint: (n, S), probabilities by the global embedding and the localities so far; global_: (n,), the label's by the
    global embedding alone; labels: (n,), the true ones, or the predicted ones at inference; ratio: (n,), β.
    """
    return ratio * (joint.gather(1, labels[:, None])[:, 0] + global_)


def _by_place(values: Tensor) -> Tensor:
    """(N, …): entropy over the channels. values: (N, C, …)."""
    size = values.abs()
    total = size.sum(dim=1, keepdim=True)
    return torch.special.entr(size / torch.where(total > 0, total, 1.0)).sum(dim=1)


def _ratio(own: Tensor, whole: Tensor) -> Tensor:
    return torch.where(whole > 0, own / torch.where(whole > 0, whole, 1.0), 1.0)
