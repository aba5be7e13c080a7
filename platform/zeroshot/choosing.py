"""Choosing by accuracies that are noisy: few pseudo-unseen classes stand for all that a model may be asked about."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_ABOVE_CHANCE = 2.0  # standard errors above it that count as more than luck
_EXACTLY = 1e-6  # accuracies; on two folds a difference often is its own standard error, and rounding must not decide


@dataclass(frozen=True)
class Choice:
    """place: of the chosen one; best: of the highest mean; above_chance: whether that is more than luck."""

    place: int
    best: int
    above_chance: bool


def latest_of_equals(accuracies: Tensor, chance: float = -math.inf, first: int = 0) -> Choice:
    """The latest candidate that is not worse than the best by more than the standard error of their difference.

    accuracies: (candidates, units). Of an epoch: on each pseudo-unseen class of each fold, mean over seeds. Differences
    are paired unit by unit, since classes differ far more than epochs do. Where the best is within two standard errors
    of chance, nothing is told apart, and the last candidate is taken: a method is written to be trained to its end.
    first: those before it count only while there is no other.

    What is chosen among all candidates was also chosen when no later one was known: so the model to keep is known at
    its own epoch.
    """
    first = first if first < len(accuracies) else 0
    means = accuracies.mean(1)
    best = first + int(means[first:].argmax())
    if means[best] - chance <= _ABOVE_CHANCE * _standard_error(accuracies[best]) + _EXACTLY:
        return Choice(len(accuracies) - 1, best, False)
    return Choice(int(torch.nonzero(as_good_as(best, accuracies)).max()), best, True)


def as_good_as(best: int, values: Tensor) -> Tensor:
    """(candidates,) which are not worse than one of them by more than the standard error of the paired difference.

    values: (candidates, units), the higher the better.
    """
    differences = values[best] - values
    return differences.mean(1) <= _standard_error(differences) + _EXACTLY


def _standard_error(values: Tensor) -> Tensor:
    """Of means over the last axis; zero where that is a single value."""
    count = values.shape[-1]
    return values.std(-1) / count**0.5 if count > 1 else values.new_zeros(values.shape[:-1])
