"""Feature normalisation, fitted on the training samples of the seen classes alone."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from platform.datasets.contents import FeatureKind, Normalisation
from platform.datasets.encoded_frames import EncodedFrames
from platform.datasets.encoded_pictures import EncodedPictures
from platform.errors import InputError
from platform.zeroshot.task import Samples, Task

_EXPECTED: Mapping[FeatureKind, str] = {
    "numbers": "features that are no pixels",
    "pixels": "pixels, uint8",
    "pictures": "encoded pictures",
    "frames": "encoded frames",
}


@dataclass(frozen=True)
class Normaliser:
    """(x − shift) / scale per dimension, then rows to unit length where `unit`. shift, scale: (D,).

    For pictures and frames, by their `kind`, it does nothing: float32 would take four times the memory of uint8.
    shape: (F, side) of frames and encoded pictures, which have one; exact: whether the latter are kept without loss.
    """

    shift: Tensor
    scale: Tensor
    unit: bool
    kind: FeatureKind = "numbers"
    shape: tuple[int, int] | None = None
    exact: bool = False

    @property
    def pixels(self) -> bool:
        return self.kind == "pixels"

    @classmethod
    def fit(cls, kind: Normalisation, features: Tensor | EncodedFrames) -> "Normaliser":
        """features: (N, D) of the training samples, or encoded frames.

        `scale` divides all dimensions by one number, their root mean square, which keeps their relative scale;
        `minmax` is what Xian et al. and CADA-VAE do with a ResNet's features, none of which is negative; `l2` makes
        each row's length 1.
        Raises InputError where pictures, (N, D) uint8, or frames should be normalised.
        """
        if (given := _kind(features)) != "numbers":
            refuse_normalisation(kind, given)
            if isinstance(features, EncodedPictures):
                return cls.of_pictures(features.side, features.exact)
            if isinstance(features, EncodedFrames):
                return cls.of_frames(features.frames, features.side)
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
        return cls(torch.zeros(1).expand(dimension), torch.ones(1).expand(dimension), unit=False, kind="pixels")

    @classmethod
    def of_frames(cls, frames: int, side: int) -> "Normaliser":
        whole = cls.of_pixels(math.prod((frames, 3, side, side)))
        return replace(whole, kind="frames", shape=(frames, side))

    @classmethod
    def of_pictures(cls, side: int, exact: bool) -> "Normaliser":
        return replace(cls.of_pixels(3 * side * side), kind="pictures", shape=(1, side), exact=exact)

    def __call__(self, features: Tensor | EncodedFrames) -> Tensor | EncodedFrames:
        """features: (N, D), on any device; returned unchanged, perhaps as a memory map, where there is nothing to do.

        Raises InputError where they are of another kind than those that it was fitted on.
        """
        if self.kind != (given := _kind(features)):
            encoded = isinstance(features, EncodedFrames)
            said = _EXPECTED[given] if encoded else str(features.dtype).removeprefix("torch.")
            raise InputError(f"the model was trained on {_EXPECTED[self.kind]}; it is given {said}")
        if isinstance(features, EncodedFrames):
            if self.shape != (given := (features.frames, features.side)):
                parts = [f"{n} frames" if self.kind == "frames" else "a picture" for n, _ in (self.shape, given)]
                expected, found = (
                    f"{part} of {s} x {s}" for part, (_, s) in zip(parts, (self.shape, given), strict=True)
                )
                raise InputError(f"the model was trained on {expected} a sample; it is given {found}")
            return features
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
        if self.kind == "pictures":
            return {"pictures": self.shape[1], "exact": self.exact}
        if self.shape is not None:
            return {"frames": self.shape[0], "side": self.shape[1]}
        return {"shift": self.shift.tolist(), "scale": self.scale.tolist(), "unit": self.unit}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Normaliser":
        if "pixels" in record:
            return cls.of_pixels(record["pixels"])
        if "pictures" in record:
            return cls.of_pictures(record["pictures"], record["exact"])
        if "frames" in record:
            return cls.of_frames(record["frames"], record["side"])
        return cls(torch.tensor(record["shift"]), torch.tensor(record["scale"]), record["unit"])

    def apply(self, task: Task, samples: Samples) -> tuple[Task, Samples]:
        masked = None if task.masked is None else self(task.masked)
        return (
            replace(task, features=self(task.features), masked=masked),
            replace(samples, features=self(samples.features)),
        )


def refuse_normalisation(normalise: Normalisation, kind: FeatureKind) -> None:
    """Raise InputError where pictures or frames should be normalised."""
    if normalise != "none":
        raise InputError(
            f"--normalise {normalise}: the features are {kind}, given to a method as they are; leave it out"
        )


def _kind(features: Tensor | EncodedFrames) -> FeatureKind:
    if isinstance(features, EncodedFrames):
        return features.kind
    return "pixels" if features.dtype == torch.uint8 else "numbers"
