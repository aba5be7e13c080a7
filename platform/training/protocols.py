"""The two protocols around a method's fit.

`clean`: hold out as many pseudo-unseen seen classes as there are unseen ones; choose the epoch, the configuration and
what joins seen and unseen scores there; fit again on all seen classes with what was chosen; test once.
`released`: what the papers' released code does: the epoch with the best accuracy on the unseen test classes themselves.
It leaks, is computed beside the clean result from the same fit, and is always labelled.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from platform.errors import InputError
from platform.method import Member, Method, MethodConfig, Model
from platform.training.fitting import (
    Course,
    Fitting,
    best_epoch,
    chosen_epoch,
    epoch_of_best,
    is_finite,
    until_they_end,
)
from platform.zeroshot.evaluation import (
    all_metrics,
    cluster_metrics,
    joint_metrics,
    seen_alone,
    step_metrics,
    zero_shot_metrics,
)
from platform.zeroshot.gate import Combination, Stacking, fit_gate, fit_stacking
from platform.zeroshot.problem import Fold, Problem

Report = Callable[[str, int, Sequence[Mapping[str, float]]], None]  # stage, epoch, metrics of each member
HeldOut = tuple[Tensor, Tensor, Tensor]  # (N, S) seen and (N, U) unseen log-probabilities of a fold, and (N,) labels


class ProtocolOptions(BaseModel):
    """How a configuration is validated and tested."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocols: tuple[Literal["clean", "released"], ...] = ("clean", "released")
    folds: int = Field(1, ge=1, description="draws of pseudo-unseen classes that validation averages over")
    seen_fraction: float = Field(0.2, gt=0, lt=1, description="share of the seen samples that validation holds out")
    fold_seed: int = Field(0, ge=0, description="names the draw of the pseudo-unseen classes")


@dataclass(frozen=True)
class Candidate:
    """One configuration with one seed on one class split."""

    config: MethodConfig
    seed: int
    split: str


@dataclass(frozen=True)
class Validation:
    """What validation found for a candidate. epochs: metrics of each epoch, mean over folds; epoch: the chosen one.

    held_out: each fold's scores at that epoch, from which ensembles are joined.
    """

    epochs: Sequence[Mapping[str, float]]
    epoch: int
    metrics: Mapping[str, float]
    combination: Combination
    held_out: Sequence[HeldOut] = field(default=(), repr=False, compare=False)


@dataclass(frozen=True)
class Test:
    """A candidate's test: each protocol's metrics, model and epoch."""

    epochs: Sequence[Mapping[str, float]]
    metrics: Mapping[str, Mapping[str, float]]
    models: Mapping[str, Model]


Validations = list[Validation | None]  # of one configuration: split by split, seed by seed; None for one that diverged


class Desk(Protocol):
    """Whom a pack asks which of its configurations go on, and which come in for those that have left."""

    def is_rung(self, config: MethodConfig, epochs: int) -> bool:
        """Whether the desk decides after so many epochs."""

    def exchange(
        self, ended: Mapping[str, Validations], waiting: Mapping[str, Validations]
    ) -> tuple[Sequence[str], Mapping[str, MethodConfig]]:
        """Takes what has ended, and what stands at a rung; gives which of the latter stop there, and who comes in.

        A stopped configuration is over: what it had reached at the rung was its outcome. Keys name configurations.
        """


@dataclass(frozen=True)
class Workplace:
    """Where a stage runs: its device, the folder of its checkpoints, who hears of its epochs, and its worker's rank.

    pack: of several that a stage trains one after the other, which.
    """

    device: torch.device
    folder: Path | None = None
    checkpoint_seconds: float = 15.0
    report: Report | None = None
    rank: int = 0
    world_size: int = 1
    pack: int = 0

    def fitting(self, stage: str, method: Method, courses: Sequence[Course], **options: Any) -> Fitting:
        report = self.report
        return Fitting(
            method,
            courses,
            self.device,
            checkpoint=self.folder and self.folder / f"{stage}-{self.pack}.safetensors",
            checkpoint_seconds=self.checkpoint_seconds,
            on_epoch=report and (lambda epoch, metrics: report(stage, epoch, metrics)),
            rank=self.rank,
            world_size=self.world_size,
            **options,
        )


def validate(
    method: Method,
    problems: Mapping[str, Problem],
    configs: Mapping[str, MethodConfig],
    seeds: Sequence[int],
    options: ProtocolOptions,
    place: Workplace,
    desk: Desk | None = None,
) -> dict[str, Validations]:
    """Validate configurations side by side, each on every split with every seed over all folds.

    problems: by split; configs: by key. With a desk, configurations that it stops leave, and others come in: what they
    reach is given to the desk, and the answer here is empty.
    """
    validation = _ValidationStage(problems, seeds, options, place)
    found: dict[str, Validations] = {}

    def following(courses: Sequence[Course]) -> list[Course]:
        going_on = until_they_end(courses)
        if desk is None:
            return going_on
        waiting = [c for c in going_on if desk.is_rung(c.members[0].config, len(c.history))]
        ended = [c for c in courses if c.ended]
        if not waiting and not ended:
            return going_on
        stopped, joining = desk.exchange(
            {c.key: validation.found(c) for c in ended}, {c.key: validation.found(c) for c in waiting}
        )
        left = {c.key for c in ended} | set(stopped)
        for course in courses:
            course.settled = course.key in left
        new = [validation.course(key, config) for key, config in joining.items()]
        return [c for c in going_on if c.key not in left] + new

    courses = [validation.course(key, config) for key, config in configs.items()]
    place.fitting("validation", method, courses, following=following).fit()
    if desk is None:
        found = {course.key: validation.found(course) for course in courses}
    return found


class _ValidationStage:
    """Makes a course of a configuration, and reads from it what validation found."""

    def __init__(
        self, problems: Mapping[str, Problem], seeds: Sequence[int], options: ProtocolOptions, place: Workplace
    ) -> None:
        self.folds: dict[str, list[Fold]] = {
            split: problem.validation_folds(options.folds, options.seen_fraction, options.fold_seed)
            for split, problem in problems.items()
        }
        self.samples = {split: [f.samples.to(place.device) for f in folds] for split, folds in self.folds.items()}
        # a course's members: split by split, seed by seed, fold by fold
        self.members = [
            (split, seed, fold) for split, folds in self.folds.items() for seed in seeds for fold in range(len(folds))
        ]
        places = enumerate(self.members)
        self.groups: dict[tuple[str, int], list[int]] = {}
        self.together: dict[str, list[int]] = {}
        for m, (split, seed, _) in places:
            self.groups.setdefault((split, seed), []).append(m)
            # the epoch belongs to a configuration: its seeds choose it together, since one seed's few pseudo-unseen
            # samples choose it badly
            self.together.setdefault(split, []).append(m)

    def course(self, key: str, config: MethodConfig) -> Course:
        return Course(
            key,
            [Member(self.folds[split][fold].task, config, seed) for split, seed, fold in self.members],
            config.epochs - 1,
            self._evaluate,
            {"best": best_epoch(list(self.together.values()), "zsl", config.first_epoch)},
        )

    def _evaluate(self, member: int, model: Model) -> dict[str, float]:
        split, _, fold = self.members[member]
        samples = self.samples[split][fold]
        return {**zero_shot_metrics(model, samples), **seen_alone(model, samples)}

    def found(self, course: Course) -> Validations:
        """As it stands now: at its end, or at a rung."""
        return [self._of(course, split, group) for (split, _), group in self.groups.items()]

    def _of(self, course: Course, split: str, group: Sequence[int]) -> Validation | None:
        if not all(is_finite(course.history[-1], m) for m in group):
            return None
        models = [course.kept["best"][m] for m in group]
        held_out = [
            tuple(part.cpu() for part in (*m.sides(s.features, s.logits), s.labels))
            for m, s in zip(models, self.samples[split], strict=True)
        ]  # on the CPU: the gate's many small fits run there
        if any(part.isnan().any() for seen, unseen, _ in held_out for part in (seen, unseen)):
            return None  # the last step overflowed: no loss has shown it
        epochs = [_mean([epoch[m] for m in group]) for epoch in course.history]
        config = course.members[0].config
        epoch = epoch_of_best(course.history, self.together[split], "zsl", config.first_epoch)
        zero_shot = {name: epochs[epoch][name] for name in ("zsl", "zsl_per_sample")}
        combination, joint = combined(config, held_out)
        return Validation(epochs, epoch, {**zero_shot, **joint}, combination, held_out)


def test(
    method: Method,
    folds: Mapping[str, Fold],
    candidates: Sequence[Candidate],
    validations: Sequence[Validation],
    options: ProtocolOptions,
    place: Workplace,
) -> list[Test | None]:
    """Fit candidates on all seen classes, side by side, and test each protocol's choice; None for one that diverged.

    folds: by split. The clean protocol's model is the one after the validated epoch; `released` also evaluates every
    epoch on the unseen test classes and takes the best.
    """
    samples = {split: fold.samples.to(place.device) for split, fold in folds.items()}
    leaking = "released" in options.protocols

    def course(number: int, candidate: Candidate, validation: Validation) -> Course:
        keepers = {"clean": chosen_epoch([validation.epoch])}
        if leaking:
            keepers["released"] = best_epoch([[0]], "zsl_per_sample", candidate.config.first_epoch)
        return Course(
            str(number),
            [Member(folds[candidate.split].task, candidate.config, candidate.seed)],
            candidate.config.epochs - 1 if leaking else validation.epoch,
            (lambda _, model: zero_shot_metrics(model, samples[candidate.split])) if leaking else None,
            keepers,
        )

    pairs = list(zip(candidates, validations, strict=True))
    courses = [course(i, candidate, validation) for i, (candidate, validation) in enumerate(pairs)]
    place.fitting("test", method, courses).fit()
    tests = []
    for (candidate, validation), fitted in zip(pairs, courses, strict=True):
        if not is_finite(fitted.history[-1], 0):
            tests.append(None)
            continue
        models = {p: fitted.kept[p][0].joined_by(validation.combination) for p in options.protocols}
        trained_on = folds[candidate.split].task.samples()
        tested = samples[candidate.split]
        metrics = {
            p: {
                **all_metrics(model, tested),
                **step_metrics(model, tested),
                **cluster_metrics(model, trained_on, place.device),
            }
            for p, model in models.items()
        }
        tests.append(Test([epoch[0] for epoch in fitted.history], metrics, models))
    return tests


def combined(config: MethodConfig, held_out: Sequence[HeldOut]) -> tuple[Combination, dict[str, float]]:
    """What joins seen and unseen scores, fitted on all folds together, and the joint metrics that it gives there."""
    seen, unseen, labels = _pooled(held_out)
    combination, scores, curve = _combine(config, seen, unseen, labels)
    return combination, joint_metrics(scores, curve, labels, seen.shape[1])


def _mean(metrics: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: sum(m[name] for m in metrics) / len(metrics) for name in metrics[0]}


def _pooled(scored: Sequence[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    """Seen and unseen scores and labels of all folds together; a fold with fewer classes gets impossible ones."""
    most_seen, most_unseen = (max(s[side].shape[1] for s in scored) for side in (0, 1))
    pooled = []
    for seen, unseen, labels in scored:
        renumbered = torch.where(labels < seen.shape[1], labels, labels - seen.shape[1] + most_seen)
        pooled.append((_widened(seen, most_seen), _widened(unseen, most_unseen), renumbered))
    return tuple(torch.cat(parts) for parts in zip(*pooled, strict=True))


def _widened(scores: Tensor, columns: int) -> Tensor:
    return torch.nn.functional.pad(scores, (0, columns - scores.shape[1]), value=-math.inf)


def _combine(config: MethodConfig, seen: Tensor, unseen: Tensor, labels: Tensor) -> tuple[Combination, Tensor, Tensor]:
    """The fitted combination, and the (N, C) scores and curve scores that it gives held-out samples."""
    classes = seen.shape[1]
    if min(int((labels < classes).sum()), int((labels >= classes).sum())) < 2:
        raise InputError(f"{len(labels)} held-out samples are too few to join seen and unseen scores; hold out more")
    if config.combination == "joint":  # the method's own scores over all classes, as they are
        scores = torch.cat([seen, unseen], dim=1)
        return Stacking(0.0), scores, scores
    if config.combination == "stacking":
        stacking = fit_stacking(seen, unseen, labels)
        scores = stacking.scores(seen, unseen)
        return stacking, scores, scores
    gate, p_seen = fit_gate(config.combination, seen, unseen, labels, config.temperature_scaling)
    return gate, gate.scores(seen, unseen, p_seen), gate.curve_scores(seen, unseen, p_seen)
