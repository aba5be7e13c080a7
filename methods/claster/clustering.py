"""Cluster centroids as CLASTER has them: how they start, what they make of a point, how a reward moves them.

Points and centroids have the same leading axes (a population's members, a vectorised environment's places, or none).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

Product = Callable[[Tensor, Tensor], Tensor]
_NEAREST = 1e-6  # a distance below which a point stands on a centroid: 1 / d must stay finite


def first_centroids(kind: Literal["kmeans", "random"], points: Tensor, clusters: int, seed: int) -> Tensor:
    """(K, W): by k-means (scikit-learn's, k-means++ starts), or the means of points that were dealt out at random.

    points: (N, W) on any device; the work is done on the CPU, since it is done once. Needs N ≥ K. NaN where points are
    not finite.
    """
    import numpy as np
    from sklearn.cluster import KMeans  # here, because a verb's help should not wait a second for it

    values = points.cpu().numpy()
    if not np.isfinite(values).all():  # of a member that has diverged already: it will be told by its losses
        return torch.full((clusters, points.shape[1]), torch.nan).to(points)
    if kind == "kmeans":
        found = KMeans(clusters, n_init=1, random_state=seed).fit(values).cluster_centers_
    else:
        dealt = np.random.default_rng(seed).permutation(np.arange(len(values)) % clusters)
        found = np.stack([values[dealt == j].mean(axis=0) for j in range(clusters)])
    return torch.from_numpy(found).to(points)


def distances(points: Tensor, centroids: Tensor, exists: Tensor | None = None) -> Tensor:
    """d, (…, N, K): Euclidean, and infinite to a centroid that does not exist.

    points: (…, N, W); centroids: (…, K, W); exists: (…, K) bool, all by default.
    """
    # the product form loses digits on a GPU, where float32 products may be TF32; there are few centroids
    found = torch.cdist(points, centroids, compute_mode="donot_use_mm_for_euclid_dist")
    return found if exists is None else found.masked_fill(~exists[..., None, :], torch.inf)


def centroid_weights(d: Tensor) -> Tensor:
    """η, (…, N, K): 1/d, brought to 0 … 1 by each point's own least and largest (Section 3.3).

    So the nearest centroid counts fully and the farthest not at all; where all are as far, each counts fully. d: (…, N,
    K), infinite for centroids that do not exist, which do not count.
    """
    exists = d.isfinite()
    inverse = 1 / d.clamp_min(_NEAREST)
    low = inverse.masked_fill(~exists, torch.inf).amin(dim=-1, keepdim=True)
    high = inverse.amax(dim=-1, keepdim=True)
    spread = high > low
    scaled = (inverse - low) / torch.where(spread, high - low, 1.0)
    return torch.where(spread, scaled, 1.0).masked_fill(~exists, 0.0)


def represented(points: Tensor, centroids: Tensor, d: Tensor, product: Product = torch.matmul) -> Tensor:
    """ω, (…, N, W): the point and the centroids, by their weights (Eq. 1). Shapes as for `distances`.

    product: of matrices with leading axes; a population's is its own, `stacked_product`.
    """
    return points + product(centroid_weights(d), centroids)


def netvlad(points: Tensor, centroids: Tensor, shares: Tensor) -> Tensor:
    """(…, N, K·W): a point's residuals to the centroids, by its shares in them, brought to length 1 (NetVLAD).

    shares: (…, N, K), soft assignments that sum to 1. A video is one point here: nothing is summed over points, and
    NetVLAD's normalisation within each cluster is left out, since it would cancel the point's share.
    """
    residuals = shares[..., None] * (points[..., None, :] - centroids[..., None, :, :])  # (…, N, K, W)
    return torch.nn.functional.normalize(residuals.flatten(-2), dim=-1)


def firing_probability(d: Tensor) -> Tensor:
    """p_j = 2 (1 − σ(d)), in 0 … 1 (Likas, 1999): the probability with which a unit so far away would fire."""
    return 2 * torch.sigmoid(-d)


def reinforcement(
    points: Tensor,
    centroids: Tensor,
    chosen: Tensor,
    d: Tensor,
    reward: Tensor,
    score: Tensor,
    average: Callable[[Sequence[Tensor]], Sequence[Tensor]] = tuple,
    product: Product = torch.matmul,
) -> Tensor:
    """Δc / α, (…, K, W): where a batch's rewards move the centroids (Eq. 5).

    Each point moves its chosen centroid by r (z − p_j)(ψ − c_j); a centroid takes the mean over the points that chose
    it, so that α means the same for any batch. points: (…, N, W); chosen: (…, N) in 0 … K − 1; d: (…, N, K); reward:
    (…, N), 1 or −1; score: (…, N), z; average: of sums over data-parallel workers, before they are divided; product:
    as for `represented`.
    """
    choice = torch.nn.functional.one_hot(chosen, centroids.shape[-2]).to(points.dtype)  # (…, N, K)
    p = firing_probability(d.gather(-1, chosen[..., None]))[..., 0]
    share = choice * (reward * (score - p))[..., None]
    pull = product(share.mT, points) - share.sum(dim=-2)[..., None] * centroids
    moved, counts = average([pull, choice.sum(dim=-2)])
    return moved / counts.clamp_min(torch.finfo(counts.dtype).tiny)[..., None]


def observed(points: Tensor, d: Tensor, belief: Tensor, scales: Tensor) -> Tensor:
    """(…, W + K + S): what a policy that chooses centroids sees, brought to a common scale.

    points: (…, W); d: (…, K); belief: (…, S), probabilities of the seen classes; scales: (…, 2), of points and of d.
    """
    return torch.cat([points / scales[..., :1], d / scales[..., 1:], belief], dim=-1)


def preferences(weights: Mapping[str, Tensor], observations: Tensor) -> Tensor:
    """(…, N, K): how much a policy prefers each centroid, as logits. observations: (…, N, W + K + S).

    weights: `policy_1` … `policy_3`, (…, rows, columns), and their biases (…, 1, columns).
    """
    hidden = observations
    for name in ("policy_1", "policy_2"):
        hidden = (hidden @ weights[name] + weights[f"{name}_bias"]).tanh()
    return hidden @ weights["policy_3"] + weights["policy_3_bias"]
