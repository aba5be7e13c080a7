"""CLASTER's networks: what a sample is to its centroids, and what V makes of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from methods.claster.clustering import distances, netvlad, observed, preferences, represented
from methods.claster.config import CLASTERConfig
from platform.population.layers import stacked_product


class CLASTERNetwork:
    """The network of one member or of a stacked population: one code for both.

    weights: name to (…, rows, columns), `NAME_bias` to (…, 1, columns), where … is nothing or the members.
    """

    def __init__(self, config: CLASTERConfig, weights: Mapping[str, Tensor], exists: Tensor | None = None) -> None:
        self.config, self.weights, self.exists = config, weights, exists

    def layer(self, name: str, x: Tensor) -> Tensor:
        return stacked_product(x, self.weights[name]) + self.weights[f"{name}_bias"]

    def projected(self, semantics: Tensor) -> Tensor:
        """a', (…, C, D): class semantics in the features' space. semantics: (…, C, T)."""
        return projected(self.layer, semantics)

    def estimated(self, x: Tensor) -> Tensor:
        """φ, (…, N, D): what a sample's projected semantics should be. x: (…, N, D)."""
        return self.layer("estimate_2", self.layer("estimate_1", x).relu())

    def joined(self, x: Tensor, semantic: Tensor | None) -> Tensor:
        """ψ, (…, N, W) of features and (estimated or true) projected semantics, each (…, N, D)."""
        if semantic is None:
            return x
        if self.config.aggregation == "average":
            return (x + semantic) / 2
        if self.config.aggregation == "dot":
            return x * semantic
        if self.config.aggregation == "weighted":
            share = self.weights["share"].sigmoid()
            return share * x + (1 - share) * semantic
        return torch.cat([x, semantic], dim=-1)

    def points(self, x: Tensor) -> Tensor:
        """ψ of samples (…, N, D)."""
        return self.joined(x, self.estimated(x) if self.config.visual_semantic else None)

    def omega(self, points: Tensor, centroids: str = "centroids") -> tuple[Tensor, Tensor | None]:
        """ω, and d (…, N, K) where there are centroids. points: (…, N, W)."""
        if self.config.clustering == "none":
            return points, None
        places = self.weights[centroids]
        d = distances(points, places, self.exists)
        if self.config.clustering != "netvlad":
            return represented(points, places, d, stacked_product), d
        logits = self.layer("assign", points)
        if self.exists is not None:
            logits = logits.masked_fill(~self.exists[..., None, :], -torch.inf)
        return netvlad(points, places, logits.softmax(dim=-1)), d

    def classified(self, omega: Tensor) -> Tensor:
        """V(ω), (…, N, T). omega: (…, N, W)."""
        if self.config.channels:
            omega = self._convolved("conv_2", self._convolved("conv_1", omega[..., None]).relu())[..., 0]
        return self.layer("classify_2", self.layer("classify_1", omega).relu())

    def choices(self, points: Tensor, d: Tensor, belief: Tensor, scales: Tensor) -> Tensor:
        """(…, N) centroids that the trained policy chooses. Shapes as for `observed`; d: (…, N, K)."""
        preferred = preferences(self.weights, observed(points, d.nan_to_num(posinf=0.0), belief, scales))
        if self.exists is not None:
            preferred = preferred.masked_fill(~self.exists[..., None, :], -torch.inf)
        return preferred.argmax(dim=-1)

    def _convolved(self, name: str, x: Tensor) -> Tensor:
        """Kernel 3 along the vector, zeros beyond its ends. x: (…, N, W, channels); gives (…, N, W, others)."""
        padded = pad(x, (0, 0, 1, 1))
        taps = torch.cat([padded[..., :-2, :], x, padded[..., 2:, :]], dim=-1)
        found = self.layer(name, taps.flatten(-3, -2)).unflatten(-2, x.shape[-3:-1])
        if self.config.clustering == "netvlad" and self.exists is not None:  # ω ends with a member's own centroids
            own = self.exists.repeat_interleave(x.shape[-2] // self.exists.shape[-1], dim=-1)  # (…, W)
            found = found * own[..., None, :, None]
        return found


def projected(layer: Callable[[str, Tensor], Tensor], semantics: Tensor) -> Tensor:
    """a', (…, C, D) of semantics (…, C, T). layer: a layer's name and its input to its output."""
    return layer("project_2", layer("project_1", semantics).relu())


@dataclass(frozen=True)
class Encoded:
    """A batch as its members' networks see it, with the graph that gradients are taken through.

    semantic: φ, (…, N, D), where it is estimated; points: ψ, (…, N, W); d: (…, N, K), where there are centroids;
    scores: (…, N, S), the logits of Eq. 2; reward: (…, N), 1 where the largest is the sample's class, else −1 (Eq. 4).
    """

    network: CLASTERNetwork
    semantic: Tensor | None
    points: Tensor
    d: Tensor | None
    scores: Tensor
    reward: Tensor
