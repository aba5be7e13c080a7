"""Populations whose members stand on a leading axis of every tensor, each with its own epochs, data and state.

A method's own population says which layers there are, how wide and how they start, and what an epoch does with them.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from platform.learning.training_data import TrainingData
from platform.method import Member, Population, tensors_of
from platform.population.adam import PopulationAdam
from platform.population.graphs import Replayed
from platform.population.layers import Layout, StackedLayers
from platform.workers import Workers


class StackedPopulation(Population):
    """Parameters, optimisers and data of members that take each step together.

    alive: (members,) bool; a member whose losses are no longer finite is frozen. epochs: how many each has behind it. A
    member that comes with a state goes on from it, in whatever company.
    """

    layout: ClassVar[Layout]

    def __init__(self, members: Sequence[Member], workers: Workers) -> None:
        states = [m.state for m in members]
        self.members, self.workers = [replace(m, state=None) for m in members], workers
        self.device = workers.device
        self.widths = [self.widths_of(m) for m in members]
        weights = [
            tensors_of(s, "parameter") if s else self.initial_weights(m) for m, s in zip(members, states, strict=True)
        ]
        self.layers = StackedLayers(self.layout, self.widths, weights, workers.device)
        self.data = TrainingData(members, workers.device)
        self.epochs = [int(s["epoch"]) if s else 0 for s in states]
        self.alive = torch.tensor([bool(s["alive"]) if s else True for s in states], device=workers.device)
        self.optimisers = self.make_optimisers()
        for optimiser in self.optimisers:
            self._load(optimiser, states)

    @abstractmethod
    def widths_of(self, member: Member) -> dict[str, int]:
        """The width of each part of the layout."""

    @abstractmethod
    def initial_weights(self, member: Member) -> dict[str, Tensor]:
        """A member's matrices and biases at its own widths, on the CPU, from its own generator."""

    @abstractmethod
    def make_optimisers(self) -> Sequence[PopulationAdam]:
        """Optimisers over disjoint groups of `layers.parameters`."""

    @abstractmethod
    def next_epoch(self) -> list[dict[str, float]]:
        """Train each member's next epoch; returns its mean losses, not finite for a member that is not."""

    def train_epoch(self) -> list[dict[str, float]]:
        losses = self.next_epoch()
        self.epochs = [epoch + 1 for epoch in self.epochs]
        return losses

    def report(self, names: Sequence[str], means: Tensor) -> list[dict[str, float]]:
        """Each member's losses, and who lives on. means: (losses, members), NaN for a member that was frozen before."""
        self.alive &= means.isfinite().all(dim=0)
        return [dict(zip(names, column, strict=True)) for column in means.T.tolist()]

    def replayed(self, step: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """The step as a GPU takes it (`Replayed`): over data-parallel workers, plainly."""
        written = [*self.layers.parameters.values()]
        for optimiser in self.optimisers:
            written += optimiser.state.values()
        return Replayed(step, written, self.device if self.workers.world_size == 1 else torch.device("cpu"))

    def states(self, indices: Sequence[int]) -> list[dict[str, Tensor]]:
        """All that some members' next epochs depend on, at their own widths."""
        return [self._state(m) for m in indices]

    def _state(self, member: int) -> dict[str, Tensor]:
        state = {"epoch": torch.tensor(self.epochs[member]), "alive": self.alive[member].clone()}
        state |= {f"parameter.{n}": t for n, t in self.layers.own(member, self.layers.parameters).items()}
        for optimiser in self.optimisers:
            for kind, moments in optimiser.moments.items():
                state |= {f"{kind}.{n}": t for n, t in self.layers.own(member, moments).items()}
            steps = zip(optimiser.parameters, optimiser.steps[:, member], strict=True)
            state |= {f"steps.{n}": count.clone() for n, count in steps}
        return state

    def _load(self, optimiser: PopulationAdam, states: Sequence[Mapping[str, Tensor] | None]) -> None:
        names = list(optimiser.parameters)
        fresh = [{} if s else {n: torch.zeros_like(t) for n, t in self.layers.own(m, optimiser.mean).items()}
                 for m, s in enumerate(states)]  # fmt: skip
        for kind, moments in optimiser.moments.items():
            own = [{n: s[f"{kind}.{n}"] for n in names} if s else f for s, f in zip(states, fresh, strict=True)]
            for name, stacked in self.layers.stacked(own).items():
                moments[name].copy_(stacked)
        for member, state in enumerate(states):
            for i, name in enumerate(names if state else ()):
                optimiser.steps[i, member] = state[f"steps.{name}"]
