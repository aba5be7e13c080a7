"""A stepwise model's accuracy look by look on unseen test pictures, and where it looked in a few of them."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from platform.capabilities import steps_of
from platform.method import Model
from platform.zeroshot.steps import Steps
from platform.zeroshot.task import Samples, pictures_of

_SHOWN = 4  # pictures
_SIDE = 128  # most pixels along a picture's edge: pictures are embedded in the page


@dataclass(frozen=True)
class LookedAt:
    """A picture and the looks at it, t of them until the stop.

    picture: (side, side, 3) uint8, perhaps smaller than the stored one, whose side, `stored`, the boxes go by; boxes:
    (t, 4) left, top, right, bottom; confidences, right: (t + 1,), of predictions after 0 … t looks; true, predicted:
    classes, the latter at the stop.
    """

    picture: np.ndarray
    stored: int
    boxes: np.ndarray
    confidences: np.ndarray
    right: np.ndarray
    true: str
    predicted: str


@dataclass(frozen=True)
class Looking:
    """accuracies: (T + 1,) with at most 0 … T looks, in [0, 1]; failures: (T,) counts by the look that caused them."""

    accuracies: np.ndarray
    failures: np.ndarray
    pictures: tuple[LookedAt, ...]


def looking(model: Model, unseen: Samples) -> Looking | None:
    """unseen: test samples of the unseen classes, as `Task` numbers them. Returns None for a model without steps."""
    if (steps := steps_of(model, unseen.features)) is None:
        return None
    labels = unseen.labels - len(model.seen)
    failed = torch.bincount(steps.failures(labels), minlength=steps.predictions.shape[1])[1:]
    rows = telling(steps, labels)
    pictures = pictures_of(unseen.features, torch.tensor(rows, dtype=torch.long))
    shown = () if pictures is None else zip(pictures, rows, strict=True)
    return Looking(
        accuracies=steps.accuracies(labels).numpy(force=True),
        failures=failed.numpy(force=True),
        pictures=tuple(_looked_at(picture, steps, row, int(labels[row]), model.unseen) for picture, row in shown),
    )


def telling(steps: Steps, labels: Tensor, count: int = _SHOWN) -> list[int]:
    """Samples to show: some recognised only after a look, some at once, some not at the stop, in turn.

    labels: (N,) among the unseen classes.
    """
    right = steps.held() == labels[:, None]
    at_first, at_last = right[:, 0], right[:, -1]
    kinds = [torch.nonzero(kind).flatten().tolist() for kind in (~at_first & at_last, at_first & at_last, ~at_last)]
    in_turn = [own[place] for place in range(count) for own in kinds if place < len(own)]
    return in_turn[:count]


def _looked_at(picture: Tensor, steps: Steps, row: int, label: int, names: tuple[str, ...]) -> LookedAt:
    """picture: (3, S, S) uint8."""
    taken = int(steps.taken[row])
    predictions = steps.predictions[row, : taken + 1]
    return LookedAt(
        picture=_small(picture),
        stored=picture.shape[-1],
        boxes=steps.boxes[row, :taken].numpy(force=True),
        confidences=steps.confidences[row, : taken + 1].numpy(force=True),
        right=(predictions == label).numpy(force=True),
        true=names[label],
        predicted=names[int(predictions[-1])],
    )


def _small(picture: Tensor) -> np.ndarray:
    """(3, S, S) reduced to (side, side, 3) uint8 by averaging blocks of pixels."""
    side = min(picture.shape[-1], _SIDE)
    scaled = torch.nn.functional.interpolate(picture[None].float(), size=(side, side), mode="area")[0]
    return scaled.round().to(torch.uint8).permute(1, 2, 0).numpy(force=True)
