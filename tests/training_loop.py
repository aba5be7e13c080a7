"""A training loop for tests that watch it epoch by epoch."""

from dataclasses import dataclass
from threading import Barrier
from typing import Any

import torch

from platform.workers import Workers


@dataclass(frozen=True)
class _Watched(Workers):
    run: Any = None

    def average(self, tensors):
        return self.run.average(tensors)


def fitted_until(method, members, run):
    """Train members until `run.epoch_end(losses, models, states)` answers False; run: device, rank, … and `average`."""
    population = method.population(members, _Watched(run.device, run.rank, run.world_size, run))
    while run.epoch_end(population.train_epoch(), population.models, population.states):
        pass


def differentiated(population, rows, weights=None):
    """The terms (losses, members) of a population that draws nothing, whose gradients are written; rows: its batch.

    weights: (losses,) of the terms, in place of the first epoch's.
    """
    batch = population.batch_of(rows, ())
    own = population.loss_weights([1] * len(population.members))[0]
    own = own if weights is None else torch.tensor(weights)[:, None].expand_as(own)
    return population.differentiate(batch, population.encode(batch), own)


class OneEpoch:
    """A run of so many epochs on the CPU that keeps what the method reports."""

    device, rank, world_size = torch.device("cpu"), 0, 1

    def __init__(self, epochs=1):
        self.left, self.losses = epochs, []

    def epoch_end(self, losses, models, states):
        self.losses.append(losses)
        self.left -= 1
        self.models, self.states = models, states
        return self.left > 0

    def average(self, gradients):
        return gradients


class Meeting:
    """Where workers that are threads average their gradients, in place."""

    def __init__(self, count):
        self.given, self.barrier = [None] * count, Barrier(count, timeout=60)

    def average(self, rank, gradients):
        self.given[rank] = [gradient.clone() for gradient in gradients]
        self.barrier.wait()
        means = [torch.stack(parts).mean(dim=0) for parts in zip(*self.given, strict=True)]
        self.barrier.wait()
        for gradient, mean in zip(gradients, means, strict=True):
            gradient.copy_(mean)
        return gradients
