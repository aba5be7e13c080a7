"""Feature normalisation, fitted on the training samples of the seen classes alone."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from platform.datasets.contents import Normalisation
from platform.errors import InputError
from platform.zeroshot.task import Samples, Task


@dataclass(frozen=True)
class Normaliser:
    """(x − shift) / scale per dimension, then rows to unit length where `unit`. shift, scale: (D,).

    For pictures it is `pixels`: they stay uint8, unchanged, since float32 would take four times the memory.
    """

    shift: Tensor
    scale: Tensor
    unit: bool
    pixels: bool = False

    @classmethod
    def fit(cls, kind: Normalisation, features: Tensor) -> "Normaliser":
        """features: (N, D) of the training samples.

        `scale` divides all dimensions by one number, their root mean square, which keeps their relative scale;
        `minmax` is what Xian et al. and CADA-VAE do with a ResNet's features, none of which is negative; `l2` makes
        each row's length 1.
        Raises InputError where pictures, (N, D) uint8, should be normalised.
        """
        if features.dtype == torch.uint8:
            refuse_for_pixels(kind)
            return cls.of_pixels(features.shape[1])
        shift, scale = torch.zeros(features.shape[1]), torch.ones(features.shape[1])
        if kind == "scale":
            scale = features.square().mean().sqrt().expand(features.shape[1])
        elif kind == "standard":
            shift, scale = features.mean(0), features.std(0, correction=0)
        elif kind == "minmax":
            shift, scale = features.amin(0), features.amax(0) - features.amin(0)
        return cls(shift, torch.where(scale > 1e-8, scale, torch.ones_like(scale)), kind == "l2")

    @classmethod
    def of_pixels(cls, dimension: int) -> "Normaliser":
        return cls(torch.zeros(1).expand(dimension), torch.ones(1).expand(dimension), unit=False, pixels=True)

    def __call__(self, features: Tensor) -> Tensor:
        """features: (N, D), on any device; returned unchanged, perhaps as a memory map, where there is nothing to do.

        Raises InputError where they are pictures and numbers are expected, or the reverse.
        """
        if self.pixels != (features.dtype == torch.uint8):
            expected = "pixels, uint8" if self.pixels else "features that are no pixels"
            raise InputError(f"the model was trained on {expected}; it is given {str(features.dtype)[6:]}")
        if self.pixels or self._changes_nothing():
            return features
        scaled = (features - self.shift.to(features.device)) / self.scale.to(features.device)
        return torch.nn.functional.normalize(scaled, dim=1) if self.unit else scaled

    def _changes_nothing(self) -> bool:
        return not self.unit and not self.shift.any() and bool((self.scale == 1).all())

    def record(self) -> dict[str, Any]:
        """JSON values from which `from_record` makes the normaliser again."""
        if self.pixels:
            return {"pixels": len(self.shift)}
        return {"shift": self.shift.tolist(), "scale": self.scale.tolist(), "unit": self.unit}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Normaliser":
        if "pixels" in record:
            return cls.of_pixels(record["pixels"])
        return cls(torch.tensor(record["shift"]), torch.tensor(record["scale"]), record["unit"])

    def apply(self, task: Task, samples: Samples) -> tuple[Task, Samples]:
        masked = None if task.masked is None else self(task.masked)
        return (
            replace(task, features=self(task.features), masked=masked),
            replace(samples, features=self(samples.features)),
        )


def refuse_for_pixels(kind: Normalisation) -> None:
    """Raise InputError where pictures should be normalised."""
    if kind != "none":
        raise InputError(f"--normalise {kind}: the features are pixels, given to a method as they are; leave it out")
