"""What both extractors share: a graph network over bodies, pooled to one feature vector a clip."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

FEATURES = 256  # width of the penultimate layer in both papers


class SkeletonNetwork(nn.Module):
    """Bodies go through the same layers; their pooled features are averaged and classified.

    Input is (N, 3, T, V, M): M bodies of V joints, a missing body all zeros; T a multiple of 4.
    """

    joints: int
    bodies: int
    classes: int

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, 256) and logits (N, C)."""
        features = self.pooled(x)
        return features, self.logits(features)

    def pooled(self, x: Tensor) -> Tensor:
        """(N, 256): mean over frames, joints and bodies.

        Outside training, what a missing body contributes is computed once and reused: it is the same for all clips.
        """
        count, bodies = len(x), x.shape[4]
        places = self.normalised(x).flatten(0, 1)  # (N · M, 3, T, V)
        if self.training:
            return self.encoded(places).mean(dim=(2, 3)).view(count, bodies, -1).mean(dim=1)
        missing = (x == 0).all(dim=(1, 2, 3))  # (N, M)
        first_missing = missing & (missing.cumsum(0) == 1)
        rows = torch.nonzero((~missing | first_missing).flatten()).flatten()
        found = self.encoded(places[rows]).mean(dim=(2, 3))
        pooled = found.new_zeros(count * bodies, found.shape[1])
        pooled[rows] = found
        pooled = pooled.view(count, bodies, -1)
        for body in range(bodies):
            if bool(missing[:, body].any()):
                pooled[missing[:, body], body] = pooled[first_missing[:, body], body]
        return pooled.mean(dim=1)

    @abstractmethod
    def normalised(self, x: Tensor) -> Tensor:
        """(N, 3, T, V, M) through the batch normalisation of the data: (N, M, 3, T, V)."""

    @abstractmethod
    def encoded(self, x: Tensor) -> Tensor:
        """(bodies, 3, T, V) through all layers: (bodies, 256, T // 4, V)."""

    @abstractmethod
    def logits(self, features: Tensor) -> Tensor:
        """(N, 256) to (N, C)."""

    def parameter_groups(self, weight_decay: float) -> list[dict]:
        """The optimiser's groups; a subclass may decay some parameters otherwise."""
        return [{"params": list(self.parameters()), "weight_decay": weight_decay}]

    def after_backward(self) -> None:
        """What becomes of the gradients before a step; nothing by default."""
