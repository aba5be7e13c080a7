"""What a locality is worth: the reward r_t (Eq. 6), and β, its entropy by that of the whole map (Eq. 7 and 8)."""

import torch
from torch import Tensor

from methods.erpcnet.localities import all_crops


def reward(joint: Tensor, global_: Tensor, labels: Tensor, ratio: Tensor) -> Tensor:
    """(…,): r_t (Eq. 6), in 0 … 2β.

    joint: (…, S), probabilities by the global embedding and the localities so far; global_: (…,), the label's by the
    global embedding alone; labels: (…,), the true ones, or the predicted ones at inference; ratio: (…,), β.
    """
    return ratio * (joint.gather(-1, labels[..., None])[..., 0] + global_)


def entropy(values: Tensor) -> Tensor:
    """(N,): Entropy(e) of a region (Eq. 8), as the mean over its places of the entropy over the channels.

    The paper does not define p(e_ijk). Here it is a channel's share of what is active at its place,
    |e_ijk| / Σ_k |e_ijk|, and a place where nothing is active has no entropy: many channels at work are much
    information. So Eq. 7 gives 1 on average where what there is fills the image, as in SUN's scenes, and more for the
    regions of an object before a plain background: a tenth more on maps made for this, and the paper reports a mean of
    1.12, and 1.09 on SUN. This was measured on made maps, not on ResNet's; the other readings did worse. Sums
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


def _by_place(values: Tensor) -> Tensor:
    """(N, …): entropy over the channels. values: (N, C, …)."""
    size = values.abs()
    total = size.sum(dim=1, keepdim=True)
    return torch.special.entr(size / torch.where(total > 0, total, 1.0)).sum(dim=1)


def _ratio(own: Tensor, whole: Tensor) -> Tensor:
    return torch.where(whole > 0, own / torch.where(whole > 0, whole, 1.0), 1.0)
