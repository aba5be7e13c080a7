"""A fit, watched from outside: each epoch evaluated, wanted models kept, members let go and taken in, all written down.

Members that belong together, as a configuration's seeds and folds do, are a course. Courses train side by side as one
population; one that has ended leaves it, and others may take its place.
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
Evaluation = Callable[[int, Model], Mapping[str, float]]  # a member's place in its course and its model to metrics
Keeper = Callable[[History], Sequence[int]]  # a course's history to the members whose models to keep now
_WRITING_SHARE = 0.05  # of the time, at most, goes into checkpoints


def best_epoch(groups: Sequence[Sequence[int]], metric: str, first: int = 0) -> Keeper:
    """Keep the models of a group of members where their mean of `metric` is the highest so far, as `epoch_of_best`."""

    def wanted(history: History) -> list[int]:
        return [
            m for group in groups if epoch_of_best(history, group, metric, first) == len(history) - 1 for m in group
        ]

    return wanted


def epoch_of_best(history: History, group: Sequence[int], metric: str, first: int = 0) -> int:
    """The first epoch at which the mean of `metric` is the highest, over those of a group that are finite.

    first: those before it count only while there is no other, as at an early rung of a search.
    Where one has diverged on the way, an epoch is compared with the best before it: the only one whose models are kept.
    """
    diverged, best = {m for m in group if not is_finite(history[-1], m)}, first if first < len(history) else 0
    for epoch in range(best + 1, len(history)):
        counted = [m for m in group if m not in diverged or is_finite(history[epoch], m)] or group
        if sum(history[epoch][m][metric] for m in counted) > sum(history[best][m][metric] for m in counted):
            best = epoch
    return best


def epoch_kept(keeper: Keeper, history: History, member: int) -> int:
    """The epoch whose model a keeper holds of a member, which it must have kept at some epoch."""
    return max(epoch for epoch in range(len(history)) if member in keeper(history[: epoch + 1]))


def chosen_epoch(epochs: Sequence[int]) -> Keeper:
    """Keep each member's model of the epoch that was chosen for it."""
    return lambda history: [m for m, epoch in enumerate(epochs) if epoch == len(history) - 1]


def is_finite(epoch: Sequence[Mapping[str, float]], member: int) -> bool:
    """Whether a member's numbers of an epoch are."""
    return all(math.isfinite(value) for value in epoch[member].values())


@dataclass
class Course:
    """Members that go through their epochs together. key: unique among the courses of a fit, the same after a restart.

    kept: keeper to {place in the course: model}; settled: whoever follows the fit has taken from it what was wanted.
    """

    key: str
    members: list[Member]
    last_epoch: int
    evaluate: Evaluation | None
    keepers: Mapping[str, Keeper]
    history: list[list[dict[str, float]]] = field(default_factory=list)
    kept: dict[str, dict[int, Model]] = field(default_factory=dict)
    settled: bool = False

    def __post_init__(self) -> None:
        self.kept = {name: {} for name in self.keepers}

    @property
    def ended(self) -> bool:
        """After its last epoch, or once none of its members is finite."""
        if len(self.history) > self.last_epoch:
            return True
        return bool(self.history) and not any(is_finite(self.history[-1], m) for m in range(len(self.members)))


Following = Callable[[Sequence[Course]], Sequence[Course]]  # courses after an epoch to those that go on from there


def until_they_end(courses: Sequence[Course]) -> Sequence[Course]:
    return [course for course in courses if not course.ended]


@dataclass
class Fitting:
    """The training loop: epoch after epoch of all members, until every course has ended.

    With `checkpoint`, a fit that was cut off goes on from its last written epoch, with the same numbers as one left
    alone; it must be given the same courses, or some of them. `following` says after each epoch which courses go on: it
    may leave some out and add others, and the method then makes a population of those that go on.
    """

    method: Method
    courses: Sequence[Course]
    workers: Workers
    following: Following = until_they_end
    checkpoint: Path | None = None
    checkpoint_seconds: float = 15.0
    on_epoch: Callable[[int, Sequence[Mapping[str, float]]], None] | None = None
    _due: float = field(default=0.0, init=False)

    def fit(self) -> None:
        """Train until every course has ended. Raises InputError where the method cannot train a member."""
        self._read()
        self._running = until_they_end(self.courses)
        self._due = time.monotonic() + self.checkpoint_seconds
        while self._running:
            population, self._changed = self._population(), False
            while not self._changed:
                self._after(population.train_epoch(), population)

    def _population(self) -> Population:
        """Of the courses that run."""
        members = [member for course in self._running for member in course.members]
        if self.workers.world_size > 1 and self.method.data_parallel == "none":
            raise InputError(
                f"--workers {self.workers.world_size}: this method takes no share of a batch (`data_parallel`); "
                "use --workers 1"
            )
        for size in {getattr(member.config, "batch_size", 0) for member in members}:
            if size % self.workers.world_size:
                raise InputError(f"batch_size={size}: must be a multiple of the {self.workers.world_size} workers")
        return self.method.population(members, self.workers)

    def _after(self, losses: Sequence[Mapping[str, float]], population: Population) -> None:
        """What follows an epoch: metrics and models, who goes on, and a checkpoint."""
        starts = [0, *accumulate(len(course.members) for course in self._running)]
        places = {c.key: range(a, b) for c, a, b in zip(self._running, starts, starts[1:], strict=False)}
        evaluated = [i for c in self._running if c.evaluate is not None for i in places[c.key]]
        current = dict(zip(evaluated, population.models(evaluated), strict=True)) if evaluated else {}
        for course in self._running:
            self._record(course, places[course.key], losses, current, population)
        before = self._running
        self._running = list(self.following(before))
        self._changed = [id(c) for c in self._running] != [id(c) for c in before]
        if self.checkpoint and self.workers.rank == 0 and (time.monotonic() >= self._due or not self._running):
            self._write({c.key: population.states(places[c.key]) for c in self._running if c.key in places})
        if self.on_epoch:
            metrics = [member for course in before for member in course.history[-1]]
            self.on_epoch(max(len(c.history) for c in before) - 1, metrics)
        for course in self._running if self._changed else ():
            if course.key in places:
                going_on = zip(course.members, population.states(places[course.key]), strict=True)
                course.members = [replace(member, state=state) for member, state in going_on]

    def _record(
        self,
        course: Course,
        places: range,
        losses: Sequence[Mapping[str, float]],
        current: dict[int, Model],
        population: Population,
    ) -> None:
        """An epoch's metrics, and the models to keep of it."""
        metrics = [course.evaluate(m, current[i]) if course.evaluate else {} for m, i in enumerate(places)]
        course.history.append([{**losses[i], **metric} for i, metric in zip(places, metrics, strict=True)])
        course.members = [replace(member, state=None) for member in course.members]  # they have moved on from it
        for name, keeper in course.keepers.items():
            wanted = keeper(course.history)
            missing = [places[m] for m in wanted if places[m] not in current]
            current |= dict(zip(missing, population.models(missing), strict=True)) if missing else {}
            course.kept[name] |= {m: current[places[m]] for m in wanted}

    def _write(self, states: Mapping[str, Sequence[Mapping[str, Tensor]]]) -> None:
        """All courses that run, and those that have ended and still wait for the others."""
        started = time.monotonic()
        tensors, record = {}, {}
        for number, course in enumerate([*self._running, *(c for c in self.courses if c.ended and not c.settled)]):
            for member, state in enumerate(states.get(course.key, ())):
                tensors |= {f"{number}.state.{member}.{name}": t for name, t in state.items()}
            kept = {}
            for keeper, models in course.kept.items():
                for member, model in models.items():
                    model_tensors, values = model.state()
                    tensors |= {f"{number}.{keeper}.{member}.{name}": t for name, t in model_tensors.items()}
                    kept.setdefault(keeper, {})[member] = values
            record[course.key] = {"number": number, "history": course.history, "kept": kept}
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

        for course in self.courses:
            found = record.get(course.key)
            if found is None:
                continue
            course.history = found["history"]
            course.members = [
                replace(member, state=named(f"{found['number']}.state.{m}.") or None)
                for m, member in enumerate(course.members)
            ]
            for keeper, models in found["kept"].items():
                for member, values in models.items():
                    mine = named(f"{found['number']}.{keeper}.{member}.")
                    task = course.members[int(member)].task
                    values |= {"seen": task.seen, "unseen": task.unseen, "combination": None}
                    on_device = {name: tensor.to(self.workers.device) for name, tensor in mine.items()}
                    course.kept[keeper][int(member)] = self.method.restored(on_device, values)
