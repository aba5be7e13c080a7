"""The training loop: evaluates each epoch, keeps selected models, removes and adds members, and writes checkpoints.

Members that start and end together, such as a configuration's seeds and folds, form a training group. Groups train side
by side as one population; one that has ended leaves it, and others may take its place.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path

from torch import Tensor

from platform.errors import InputError
from platform.method import Member, Method, Model, Population
from platform.training.checkpoints import read_checkpoint, write_checkpoint
from platform.workers import Workers

History = Sequence[Sequence[Mapping[str, float]]]  # epoch by epoch, each member's losses and metrics
Evaluation = Callable[[int, Model], Mapping[str, float]]  # a member's index in its group, and its model, to metrics
ModelSelection = Callable[[History], Sequence[int]]  # a group's history to the members whose current models to keep
_WRITING_SHARE = 0.05  # of the time, at most, that writing checkpoints takes


def best_epoch(subsets: Sequence[Sequence[int]], metric: str, first: int = 0) -> ModelSelection:
    """Selects each subset of members at the epoch where its mean of `metric` is the highest (`epoch_of_best`)."""

    def wanted(history: History) -> list[int]:
        latest = len(history) - 1
        return [m for subset in subsets if epoch_of_best(history, subset, metric, first) == latest for m in subset]

    return wanted


def epoch_of_best(history: History, subset: Sequence[int], metric: str, first: int = 0) -> int:
    """The first epoch at which the mean of `metric` is the highest, over those of a subset that are finite.

    first: earlier epochs count only while there is no later one, as at an early rung of a search. Where a member has
    diverged, each epoch is compared with the best before it, since only that one's models are kept.
    """
    diverged, best = {m for m in subset if not is_finite(history[-1], m)}, first if first < len(history) else 0
    for epoch in range(best + 1, len(history)):
        counted = [m for m in subset if m not in diverged or is_finite(history[epoch], m)] or subset
        if sum(history[epoch][m][metric] for m in counted) > sum(history[best][m][metric] for m in counted):
            best = epoch
    return best


def epoch_selected(selection: ModelSelection, history: History, member: int) -> int:
    """The last epoch at which a selection kept a member's model; there must be one."""
    return max(epoch for epoch in range(len(history)) if member in selection(history[: epoch + 1]))


def chosen_epoch(epochs: Sequence[int]) -> ModelSelection:
    """Selects each member at the epoch that was chosen for it."""
    return lambda history: [m for m, epoch in enumerate(epochs) if epoch == len(history) - 1]


def is_finite(epoch: Sequence[Mapping[str, float]], member: int) -> bool:
    """Whether all of a member's losses and metrics of an epoch are finite."""
    return all(math.isfinite(value) for value in epoch[member].values())


@dataclass
class TrainingGroup:
    """Members that go through their epochs together. key: unique within a fit, and the same after a restart.

    kept: selection name to {index in the group: model}; settled: its results have been read, so that checkpoints need
    not hold it any longer.
    """

    key: str
    members: list[Member]
    last_epoch: int
    evaluate: Evaluation | None
    selections: Mapping[str, ModelSelection]
    history: list[list[dict[str, float]]] = field(default_factory=list)
    kept: dict[str, dict[int, Model]] = field(default_factory=dict)
    settled: bool = False

    def __post_init__(self) -> None:
        self.kept = {name: {} for name in self.selections}

    @property
    def ended(self) -> bool:
        """After its last epoch, or once none of its members is finite."""
        if len(self.history) > self.last_epoch:
            return True
        return bool(self.history) and not any(is_finite(self.history[-1], m) for m in range(len(self.members)))


# the groups that trained in an epoch to those that train in the next
Following = Callable[[Sequence[TrainingGroup]], Sequence[TrainingGroup]]


def until_they_end(groups: Sequence[TrainingGroup]) -> Sequence[TrainingGroup]:
    return [group for group in groups if not group.ended]


@dataclass
class Fitting:
    """The training loop: epoch after epoch of all members, until every group has ended.

    With `checkpoint`, an interrupted fit resumes from its last written epoch and reaches the same numbers as an
    uninterrupted one; it must be given the same groups, or some of them. `following` says after each epoch which groups
    go on: it may drop some and add others, and the method then makes a new population.
    """

    method: Method
    groups: Sequence[TrainingGroup]
    workers: Workers
    following: Following = until_they_end
    checkpoint: Path | None = None
    checkpoint_seconds: float = 15.0
    on_epoch: Callable[[int, Sequence[Mapping[str, float]]], None] | None = None
    _due: float = field(default=0.0, init=False)

    def fit(self) -> None:
        """Train until every group has ended. Raises InputError where the method cannot train a member."""
        self._read()
        self._running = until_they_end(self.groups)
        self._due = time.monotonic() + self.checkpoint_seconds
        while self._running:
            population, self._changed = self._population(), False
            while not self._changed:
                self._after(population.train_epoch(), population)

    def _population(self) -> Population:
        """A population of the members of all running groups."""
        members = [member for group in self._running for member in group.members]
        if self.workers.world_size > 1 and self.method.data_parallel == "none":
            raise InputError(
                f"--workers {self.workers.world_size}: this method cannot train data-parallel (`data_parallel`); "
                "use --workers 1"
            )
        for size in {getattr(member.config, "batch_size", 0) for member in members}:
            if size % self.workers.world_size:
                raise InputError(f"batch_size={size}: must be a multiple of the {self.workers.world_size} workers")
        return self.method.population(members, self.workers)

    def _after(self, losses: Sequence[Mapping[str, float]], population: Population) -> None:
        """After an epoch: metrics and models, which groups go on, and a checkpoint."""
        starts = [0, *accumulate(len(group.members) for group in self._running)]
        places = {g.key: range(a, b) for g, a, b in zip(self._running, starts, starts[1:], strict=False)}
        evaluated = [i for g in self._running if g.evaluate is not None for i in places[g.key]]
        current = dict(zip(evaluated, population.models(evaluated), strict=True)) if evaluated else {}
        for group in self._running:
            self._record(group, places[group.key], losses, current, population)
        before = self._running
        self._running = list(self.following(before))
        self._changed = [id(g) for g in self._running] != [id(g) for g in before]
        if self.checkpoint and self.workers.rank == 0 and (time.monotonic() >= self._due or not self._running):
            self._write({g.key: population.states(places[g.key]) for g in self._running if g.key in places})
        if self.on_epoch:
            metrics = [member for group in before for member in group.history[-1]]
            self.on_epoch(max(len(g.history) for g in before) - 1, metrics)
        for group in self._running if self._changed else ():
            if group.key in places:
                going_on = zip(group.members, population.states(places[group.key]), strict=True)
                group.members = [replace(member, state=state) for member, state in going_on]

    def _record(
        self,
        group: TrainingGroup,
        places: range,
        losses: Sequence[Mapping[str, float]],
        current: dict[int, Model],
        population: Population,
    ) -> None:
        """Add an epoch's metrics, and keep the models that are selected."""
        metrics = [group.evaluate(m, current[i]) if group.evaluate else {} for m, i in enumerate(places)]
        group.history.append([{**losses[i], **metric} for i, metric in zip(places, metrics, strict=True)])
        group.members = [
            replace(member, state=None) for member in group.members
        ]  # the states that they started with are outdated
        for name, selection in group.selections.items():
            wanted = selection(group.history)
            missing = [places[m] for m in wanted if places[m] not in current]
            current |= dict(zip(missing, population.models(missing), strict=True)) if missing else {}
            group.kept[name] |= {m: current[places[m]] for m in wanted}

    def _write(self, states: Mapping[str, Sequence[Mapping[str, Tensor]]]) -> None:
        """Write a checkpoint of the running groups and of those that have ended but are not settled."""
        started = time.monotonic()
        tensors, record = {}, {}
        for number, group in enumerate([*self._running, *(g for g in self.groups if g.ended and not g.settled)]):
            for member, state in enumerate(states.get(group.key, ())):
                tensors |= {f"{number}.state.{member}.{name}": t for name, t in state.items()}
            kept = {}
            for selection, models in group.kept.items():
                for member, model in models.items():
                    model_tensors, values = model.state()
                    tensors |= {f"{number}.{selection}.{member}.{name}": t for name, t in model_tensors.items()}
                    kept.setdefault(selection, {})[member] = values
            record[group.key] = {"number": number, "history": group.history, "kept": kept}
        write_checkpoint(self.checkpoint, tensors, record)
        taken = time.monotonic() - started
        self._due = time.monotonic() + max(self.checkpoint_seconds, taken / _WRITING_SHARE)

    def _read(self) -> None:
        saved = read_checkpoint(self.checkpoint) if self.checkpoint else None
        if saved is None:
            return
        tensors, record = saved

        def named(prefix: str) -> dict[str, Tensor]:
            return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}

        for group in self.groups:
            found = record.get(group.key)
            if found is None:
                continue
            group.history = found["history"]
            group.members = [
                replace(member, state=named(f"{found['number']}.state.{m}.") or None)
                for m, member in enumerate(group.members)
            ]
            for selection, models in found["kept"].items():
                for member, values in models.items():
                    mine = named(f"{found['number']}.{selection}.{member}.")
                    task = group.members[int(member)].task
                    values |= {"seen": task.seen, "unseen": task.unseen, "combination": None}
                    on_device = {name: tensor.to(self.workers.device) for name, tensor in mine.items()}
                    group.kept[selection][int(member)] = self.method.restored(on_device, values)
