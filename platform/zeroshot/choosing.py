"""Choosing by noisy accuracies: there are few pseudo-unseen classes to measure them on."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_ABOVE_CHANCE = 2.0  # standard errors that count as significant
_EXACTLY = 1e-6  # tolerance against rounding: on two folds a difference often equals its own standard error


@dataclass(frozen=True)
class Choice:
    """place: index of the chosen one; best: index of the highest mean; above_chance: whether that is significant."""

    place: int
    best: int
    above_chance: bool


def latest_of_equals(accuracies: Tensor, chance: float = -math.inf, first: int = 0) -> Choice:
    """The latest candidate that is not worse than the best by more than the standard error of their difference.

    accuracies: (candidates, units), such as epochs by the pseudo-unseen classes of all folds, averaged over seeds.
    Differences are paired by unit, since classes differ far more than epochs do. Where the best is within two standard
    errors of chance, the last candidate is taken: a method is designed to be trained to its end. first: earlier
    candidates count only while there is no later one.

    A candidate that is chosen at the end was also chosen when it was the latest, so its model can be kept at once.
    """
    first = first if first < len(accuracies) else 0
    means = accuracies.mean(1)
    best = first + int(means[first:].argmax())
    if means[best] - chance <= _ABOVE_CHANCE * _standard_error(accuracies[best]) + _EXACTLY:
        return Choice(len(accuracies) - 1, best, False)
    return Choice(int(torch.nonzero(as_good_as(best, accuracies)).max()), best, True)


def as_good_as(best: int, values: Tensor) -> Tensor:
    """(candidates,) True where not worse than `best` by more than the standard error of the paired difference.

    values: (candidates, units), the higher the better.
    """
    differences = values[best] - values
    return differences.mean(1) <= _standard_error(differences) + _EXACTLY


def _standard_error(values: Tensor) -> Tensor:
    """Standard errors of means over the last axis; zero for a single value."""
    count = values.shape[-1]
    return values.std(-1) / count**0.5 if count > 1 else values.new_zeros(values.shape[:-1])
