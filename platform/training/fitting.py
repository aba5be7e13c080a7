"""One fit, watched from outside: each epoch evaluated, wanted models kept, and enough written down to go on."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from platform.method import Member, Method, Model
from platform.training.checkpoints import read_checkpoint, write_checkpoint

Evaluation = Callable[[int, Model], Mapping[str, float]]  # a member's index and model to epoch metrics
Keeper = Callable[[Sequence[Sequence[Mapping[str, float]]]], Sequence[int]]  # history to the members to keep now


def best_epoch(groups: Sequence[Sequence[int]], metric: str) -> Keeper:
    """Keep the models of a group of members where their mean of `metric` is the highest so far."""

    def wanted(history: Sequence[Sequence[Mapping[str, float]]]) -> list[int]:
        return [m for group in groups if epoch_of_best(history, group, metric) == len(history) - 1 for m in group]

    return wanted


def epoch_of_best(history: Sequence[Sequence[Mapping[str, float]]], group: Sequence[int], metric: str) -> int:
    """The first epoch at which the group's mean of `metric` is the highest."""
    means = [sum(epoch[m][metric] for m in group) for epoch in history]
    return max(range(len(means)), key=means.__getitem__)


def chosen_epoch(epochs: Sequence[int]) -> Keeper:
    """Keep each member's model of the epoch that was chosen for it."""
    return lambda history: [m for m, epoch in enumerate(epochs) if epoch == len(history) - 1]


@dataclass
class Fitting:
    """The Run that a method is given (`platform.method.Run`): a fit with its device, history and kept models.

    history: epoch by epoch, each member's losses and metrics; kept: keeper to {member: model}. With `checkpoint`, a fit
    that was cut off goes on from its last written epoch, with the same numbers as one left alone.
    """

    method: Method
    members: Sequence[Member]
    device: torch.device
    evaluate: Evaluation | None
    keepers: Mapping[str, Keeper]
    last_epoch: int
    checkpoint: Path | None = None
    checkpoint_seconds: float = 15.0
    on_epoch: Callable[[int, Sequence[Mapping[str, float]]], None] | None = None
    rank: int = 0
    world_size: int = 1
    history: list[list[dict[str, float]]] = field(default_factory=list)
    kept: dict[str, dict[int, Model]] = field(default_factory=dict)
    _written: float = field(default_factory=time.monotonic)

    def fit(self) -> None:
        """Run the method's fit, from the checkpoint where there is one."""
        self.kept = {name: {} for name in self.keepers}
        self._resumed = self._read()
        if len(self.history) <= self.last_epoch:
            self.method.fit_population(self.members, self)

    def resume(self) -> dict[str, Tensor] | None:
        return self._resumed

    def epoch_end(
        self,
        epoch: int,
        losses: Sequence[Mapping[str, float]],
        models: Callable[[], Sequence[Model]],
        state: Callable[[], Mapping[str, Tensor]],
    ) -> bool:
        current = models() if self.evaluate is not None else None
        metrics = [self.evaluate(m, model) for m, model in enumerate(current)] if current else [{}] * len(losses)
        self.history.append([{**loss, **metric} for loss, metric in zip(losses, metrics, strict=True)])
        for name, keeper in self.keepers.items():
            if wanted := keeper(self.history):
                current = current or models()
                self.kept[name] |= {m: current[m] for m in wanted}
        going_on = epoch < self.last_epoch
        due = time.monotonic() - self._written >= self.checkpoint_seconds
        if self.checkpoint and self.rank == 0 and (due or not going_on):
            self._write(state())
        if self.on_epoch:
            self.on_epoch(epoch, self.history[-1])
        return going_on

    def average(self, gradients: Sequence[Tensor]) -> Sequence[Tensor]:
        if self.world_size > 1:
            for gradient in gradients:
                torch.distributed.all_reduce(gradient, op=torch.distributed.ReduceOp.SUM)
                gradient /= self.world_size
        return gradients

    def _write(self, state: Mapping[str, Tensor]) -> None:
        tensors = {f"state.{name}": tensor for name, tensor in state.items()}
        record = {"history": self.history, "kept": {}}
        for keeper, models in self.kept.items():
            for member, model in models.items():
                model_tensors, values = model.state()
                tensors |= {f"kept.{keeper}.{member}.{name}": t for name, t in model_tensors.items()}
                record["kept"].setdefault(keeper, {})[member] = values
        write_checkpoint(self.checkpoint, tensors, record)
        self._written = time.monotonic()

    def _read(self) -> dict[str, Tensor] | None:
        saved = read_checkpoint(self.checkpoint) if self.checkpoint else None
        if saved is None:
            return None
        tensors, record = saved
        self.history = record["history"]
        for keeper, models in record["kept"].items():
            for member, values in models.items():
                prefix = f"kept.{keeper}.{member}."
                mine = {n.removeprefix(prefix): t.to(self.device) for n, t in tensors.items() if n.startswith(prefix)}
                task = self.members[int(member)].task
                values |= {"seen": task.seen, "unseen": task.unseen, "combination": None}
                self.kept[keeper][int(member)] = self.method.Model.from_state(mine, values)
        return {n.removeprefix("state."): t for n, t in tensors.items() if n.startswith("state.")}
