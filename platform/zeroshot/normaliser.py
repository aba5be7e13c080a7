"""Feature normalisation, fitted on the training samples of the seen classes alone."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from platform.datasets.contents import Normalisation
from platform.zeroshot.task import Samples, Task


@dataclass(frozen=True)
class Normaliser:
    """(x − shift) / scale per dimension, then rows to unit length where `unit`. shift, scale: (D,)."""

    shift: Tensor
    scale: Tensor
    unit: bool

    @classmethod
    def fit(cls, kind: Normalisation, features: Tensor) -> "Normaliser":
        """features: (N, D) of the training samples. `minmax` is what Xian et al. and CADA-VAE do."""
        shift, scale = torch.zeros(features.shape[1]), torch.ones(features.shape[1])
        if kind == "standard":
            shift, scale = features.mean(0), features.std(0, correction=0)
        elif kind == "minmax":
            shift, scale = features.amin(0), features.amax(0) - features.amin(0)
        return cls(shift, torch.where(scale > 1e-8, scale, torch.ones_like(scale)), kind == "l2")

    def __call__(self, features: Tensor) -> Tensor:
        """features: (N, D), on any device."""
        scaled = (features - self.shift.to(features.device)) / self.scale.to(features.device)
        return torch.nn.functional.normalize(scaled, dim=1) if self.unit else scaled

    def apply(self, task: Task, samples: Samples) -> tuple[Task, Samples]:
        return (
            replace(task, features=self(task.features)),
            replace(samples, features=self(samples.features)),
        )
