"""A trained CLASTER: the nearest unseen class, from rectified semantics (Eq. 6)."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, normalize

from methods.claster.clustering import distances
from methods.claster.config import CLASTERConfig
from methods.claster.network import CLASTERNetwork
from methods.compatibility import CompatibilityModel

_BLOCK = 1024  # samples that are scored at a time


@dataclass(frozen=True)
class CLASTERModel(CompatibilityModel):
    """A trained CLASTER of one member. A class's place is its semantics; seen scores are those of Eq. 2."""

    Config = CLASTERConfig

    def class_places(self, semantics: Tensor) -> Tensor:
        return semantics

    def products(self, x: Tensor, places: Tensor) -> Tensor:
        # by blocks: the convolutions make many numbers of each sample
        return torch.cat([self._network.classified(self._omega(rows)) @ places.T for rows in x.split(_BLOCK)])

    def unseen_scores(self, x: Tensor) -> Tensor:
        if self.config.inference == "softmax":
            return super().unseen_scores(x)
        near = normalize(self._query(x), dim=1) @ normalize(self.rectified(), dim=1).T
        return log_softmax(near / self.config.nearest_temperature, dim=1)

    def rectified(self) -> Tensor:
        """â, (U, D): the unseen classes' projected semantics, moved towards the nearest of the seen ones (Eq. 6)."""
        unseen, seen = (self._network.projected(s) for s in (self.semantics, self.kept["seen_classes"]))
        count = min(self.config.neighbours, len(seen))
        if not count:
            return unseen
        near = (normalize(unseen, dim=1) @ normalize(seen, dim=1).T).topk(count, dim=1)  # (U, k)
        return unseen + (near.values[..., None] * seen[near.indices]).mean(dim=1)

    def latents(self, x: Tensor) -> dict[str, Tensor]:
        """ω with the centroids as k-means left them, and as they became (Fig. 4)."""
        if self.config.clustering not in ("reinforce", "sgd"):
            return {"representation": self._omega(x)}
        return {"before": self._omega(x, "start"), "after": self._omega(x)}

    def clusters(self, x: Tensor) -> dict[str, Tensor]:
        points = self._network.points(x)
        names = {"before": "start", "after": "centroids"} if self.config.clustering != "none" else {}
        return {name: distances(points, self.weights[key]).argmin(dim=1) for name, key in names.items()}

    def _query(self, x: Tensor) -> Tensor:
        """(N, D) what the nearest neighbour is sought from, in the projected semantics' space. x: (N, D)."""
        if self.config.inference == "estimated":
            return self._network.estimated(x)
        places = self.kept["seen_classes"]
        seen, scores = self._network.projected(places), self.products(x, places)
        return seen[scores.argmax(dim=1)] if self.config.inference == "predicted" else scores.softmax(dim=1) @ seen

    def _omega(self, x: Tensor, centroids: str = "centroids") -> Tensor:
        return self._network.omega(self._network.points(x), centroids)[0]

    @property
    def _network(self) -> CLASTERNetwork:
        return CLASTERNetwork(self.config, self.weights)
