"""What methods trained as populations share: members with their own epochs, data and state.

A method's own population says which layers there are, how wide and how they start, and what an epoch does with them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from platform.method import Member, Model, Run
from platform.population.adam import PopulationAdam
from platform.population.draws import generator, shuffled_rows
from platform.population.graphs import Replayed
from platform.population.layers import Layout, StackedLayers


class Population(ABC):
    """Parameters, optimisers and data of members that take each step together.

    alive: (members,) bool; a member whose losses are no longer finite is frozen. epochs: how many each has behind it. A
    member that comes with a state goes on from it, in whatever company.
    """

    layout: ClassVar[Layout]

    def __init__(self, members: Sequence[Member], run: Run) -> None:
        states = [m.state for m in members]
        self.members, self.run, self.device = [replace(m, state=None) for m in members], run, run.device
        self.widths = [self.widths_of(m) for m in members]
        weights = [
            _named(s, "parameter") if s else self.initial_weights(m) for m, s in zip(members, states, strict=True)
        ]
        self.layers = StackedLayers(self.layout, self.widths, weights, run.device)
        self.data = TrainingData(members, run.device)
        self.epochs = [int(s["epoch"]) if s else 0 for s in states]
        self.alive = torch.tensor([bool(s["alive"]) if s else True for s in states], device=run.device)
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
    def train_epoch(self) -> list[dict[str, float]]:
        """Each member's next epoch; gives its mean losses, not finite for a member that is not."""

    @abstractmethod
    def models(self, indices: Sequence[int]) -> list[Model]:
        """Some members as they are now."""

    def mine(self, batch_size: int) -> slice:
        """The rows of each batch that this one of the data-parallel workers takes."""
        world, rank = self.run.world_size, self.run.rank
        return slice(batch_size * rank // world, batch_size * (rank + 1) // world)

    def report(self, names: Sequence[str], means: Tensor) -> list[dict[str, float]]:
        """Each member's losses, and who lives on. means: (losses, members), NaN for a member that was frozen before."""
        self.alive &= means.isfinite().all(dim=0)
        return [dict(zip(names, column, strict=True)) for column in means.T.tolist()]

    def replayed(self, step: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """The step as a GPU takes it (`Replayed`): over data-parallel workers, plainly."""
        written = [*self.layers.parameters.values()]
        for optimiser in self.optimisers:
            written += optimiser.state.values()
        return Replayed(step, written, self.device if self.run.world_size == 1 else torch.device("cpu"))

    def fit(self) -> None:
        """Train epoch by epoch until the run wants no more."""
        going_on = True
        while going_on:
            losses = self.train_epoch()
            self.epochs = [epoch + 1 for epoch in self.epochs]
            going_on = self.run.epoch_end(losses, self.models, self.states)

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


class TrainingData:
    """The members' samples on the device; members of one task share them."""

    def __init__(self, members: Sequence[Member], device: torch.device) -> None:
        tasks = {id(m.task): m.task for m in members}
        on_device = {key: task.to(device) for key, task in tasks.items()}
        self.members, self.device = members, device
        self.tasks = [on_device[id(m.task)] for m in members]
        self.features = _joined([t.features for t in on_device.values()])  # (ΣN, D)
        self.semantics = _joined([t.semantics for t in on_device.values()])  # (ΣC, T)
        masked = [t.masked for t in on_device.values()]
        self.masked = None if any(m is None for m in masked) else _joined(masked)  # (ΣN, D)
        first_row, first_class, rows, first_classes, classes = 0, 0, {}, {}, []
        for key, task in on_device.items():
            rows[key], first_classes[key] = first_row, first_class
            classes.append(task.labels + first_class)
            first_row, first_class = first_row + len(task.labels), first_class + len(task.semantics)
        self.classes = torch.cat(classes)  # (ΣN,) rows of `semantics`
        self.first_rows = [rows[id(m.task)] for m in members]
        self.first_classes = [first_classes[id(m.task)] for m in members]  # in `semantics`

    def batches(
        self, epochs: Sequence[int], batch_size: int, steps: Sequence[int] | None = None
    ) -> tuple[list[int], Tensor]:
        """Each member's count of steps, and rows (longest, members, batch); a shorter member's last ones are idle.

        steps: of each member's epoch; by default those of one pass over its samples.
        """
        rows, wanted = [], steps or [None] * len(self.members)
        for member, epoch, first, count in zip(self.members, epochs, self.first_rows, wanted, strict=True):
            draw = generator(member.seed, "shuffle", epoch, device=self.device)
            rows.append(first + shuffled_rows(len(member.task.labels), batch_size, draw, count))
        steps = [len(r) for r in rows]
        idle = [r[:1].expand(max(steps) - len(r), -1) for r in rows]
        return steps, torch.stack([torch.cat(pair) for pair in zip(rows, idle, strict=True)], dim=1)

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """f_x (members, batch, D) and f_y (members, batch, T) of rows (members, batch)."""
        flat = rows.flatten()  # index_select is several times quicker here than indexing by a matrix
        x = self.features.index_select(0, flat)
        y = self.semantics.index_select(0, self.classes.index_select(0, flat))
        return x.view(*rows.shape, -1), y.view(*rows.shape, -1)

    def unseen_semantics(self, index: int) -> Tensor:
        task = self.tasks[index]
        return task.semantics[len(task.seen) :]


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    """All rows in one tensor; a single task's stay where they are, as a memory map must."""
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)


def _named(state: Mapping[str, Tensor], kind: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{kind}."): t for name, t in state.items() if name.startswith(f"{kind}.")}
