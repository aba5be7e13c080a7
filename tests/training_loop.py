"""A training loop for tests that watch it epoch by epoch."""

from dataclasses import dataclass
from typing import Any

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
