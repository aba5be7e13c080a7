"""Feature normalisation, fitted on the training samples of the seen classes alone."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

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
        """features: (N, D), on any device; given back as they are, memory map or not, where nothing is to be done."""
        if self._changes_nothing():
            return features
        scaled = (features - self.shift.to(features.device)) / self.scale.to(features.device)
        return torch.nn.functional.normalize(scaled, dim=1) if self.unit else scaled

    def _changes_nothing(self) -> bool:
        return not self.unit and not self.shift.any() and bool((self.scale == 1).all())

    def record(self) -> dict[str, Any]:
        """JSON values from which `from_record` makes the normaliser again."""
        return {"shift": self.shift.tolist(), "scale": self.scale.tolist(), "unit": self.unit}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Normaliser":
        return cls(torch.tensor(record["shift"]), torch.tensor(record["scale"]), record["unit"])

    def apply(self, task: Task, samples: Samples) -> tuple[Task, Samples]:
        masked = None if task.masked is None else self(task.masked)
        return (
            replace(task, features=self(task.features), masked=masked),
            replace(samples, features=self(samples.features)),
        )
