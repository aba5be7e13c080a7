"""The two protocols around a method's fit.

`clean`: hold out as many pseudo-unseen seen classes as there are unseen ones; choose the epoch, the configuration and
what joins seen and unseen scores there; fit again on all seen classes with what was chosen; test once.
`released`: what the papers' released code does: the epoch with the best accuracy on the unseen test classes themselves.
It leaks, is computed beside the clean result from the same fit, and is always labelled.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from platform.errors import InputError
from platform.method import Member, Method, MethodConfig, Model
from platform.training.fitting import Fitting, best_epoch, chosen_epoch, epoch_of_best
from platform.zeroshot.evaluation import all_metrics, joint_metrics, zero_shot_metrics
from platform.zeroshot.gate import Combination, fit_gate, fit_stacking
from platform.zeroshot.problem import Fold, Problem

Report = Callable[[str, int, Sequence[Mapping[str, float]]], None]  # stage, epoch, metrics of each member


class ProtocolOptions(BaseModel):
    """How a configuration is validated and tested."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocols: tuple[Literal["clean", "released"], ...] = ("clean", "released")
    folds: int = Field(1, ge=1, description="draws of pseudo-unseen classes that validation averages over")
    seen_fraction: float = Field(0.2, gt=0, lt=1, description="share of the seen samples that validation holds out")
    fold_seed: int = Field(0, ge=0, description="names the draw of the pseudo-unseen classes")


@dataclass(frozen=True)
class Candidate:
    """One configuration with one seed."""

    config: MethodConfig
    seed: int


@dataclass(frozen=True)
class Validation:
    """What validation found for a candidate. epochs: metrics of each epoch, mean over folds; epoch: the chosen one."""

    epochs: Sequence[Mapping[str, float]]
    epoch: int
    metrics: Mapping[str, float]
    combination: Combination


@dataclass(frozen=True)
class Test:
    """A candidate's test: each protocol's metrics, model and epoch."""

    epochs: Sequence[Mapping[str, float]]
    metrics: Mapping[str, Mapping[str, float]]
    models: Mapping[str, Model]


@dataclass(frozen=True)
class Workplace:
    """Where a stage runs: its device, the folder of its checkpoints, who hears of its epochs, and its worker's rank."""

    device: torch.device
    folder: Path | None = None
    checkpoint_seconds: float = 15.0
    report: Report | None = None
    rank: int = 0
    world_size: int = 1

    def fitting(self, stage: str, method: Method, members: Sequence[Member], last_epoch: int, **watch: Any) -> Fitting:
        report = self.report
        return Fitting(
            method,
            members,
            self.device,
            last_epoch=last_epoch,
            checkpoint=self.folder and self.folder / f"{stage}.safetensors",
            checkpoint_seconds=self.checkpoint_seconds,
            on_epoch=report and (lambda epoch, metrics: report(stage, epoch, metrics)),
            rank=self.rank,
            world_size=self.world_size,
            **watch,
        )


def validate(
    method: Method, problem: Problem, candidates: Sequence[Candidate], options: ProtocolOptions, place: Workplace
) -> list[Validation | None]:
    """Validate candidates side by side, each on every fold; None for one whose numbers were no longer finite."""
    folds = problem.validation_folds(options.folds, options.seen_fraction, options.fold_seed)
    members = [Member(fold.task, c.config, c.seed) for c in candidates for fold in folds]
    groups = [list(range(i * len(folds), (i + 1) * len(folds))) for i in range(len(candidates))]
    # the epoch belongs to a configuration: its seeds choose it together, since one seed's few pseudo-unseen samples
    # choose it badly
    together = [
        [m for c, g in zip(candidates, groups, strict=True) if c.config == own.config for m in g] for own in candidates
    ]
    samples = [fold.samples.to(place.device) for fold in folds]

    def evaluate(member: int, model: Model) -> dict[str, float]:
        return zero_shot_metrics(model, samples[member % len(folds)])

    fitting = place.fitting(
        "validation",
        method,
        members,
        last_epoch=candidates[0].config.epochs - 1,
        evaluate=evaluate,
        keepers={"best": best_epoch(together, "zsl")},
    )
    fitting.fit()
    found = []
    for candidate, group, choosing in zip(candidates, groups, together, strict=True):
        epochs = [_mean([epoch[m] for m in group]) for epoch in fitting.history]
        if not all(math.isfinite(value) for value in epochs[-1].values()):
            found.append(None)
            continue
        models = [fitting.kept["best"][m] for m in group]
        scored = [
            (model.seen_scores(s.features, s.logits), model.unseen_scores(s.features), s.labels)
            for model, s in zip(models, samples, strict=True)
        ]
        seen, unseen, labels = (part.cpu() for part in _pooled(scored))  # the gate's many small fits run there
        if seen.isnan().any() or unseen.isnan().any():  # the last step overflowed: no loss has shown it
            found.append(None)
            continue
        combination, scores, curve = _combine(candidate.config, seen, unseen, labels)
        epoch = epoch_of_best(fitting.history, choosing, "zsl")
        zero_shot = {name: epochs[epoch][name] for name in ("zsl", "zsl_per_sample")}
        metrics = {**zero_shot, **joint_metrics(scores, curve, labels, seen.shape[1])}
        found.append(Validation(epochs, epoch, metrics, combination))
    return found


def test(
    method: Method,
    fold: Fold,
    candidates: Sequence[Candidate],
    validations: Sequence[Validation],
    options: ProtocolOptions,
    place: Workplace,
) -> list[Test | None]:
    """Fit candidates on all seen classes, side by side, and test each protocol's choice; None for one that diverged.

    The clean protocol's model is the one after the validated epoch; `released` also evaluates every epoch on the unseen
    test classes and takes the best.
    """
    samples = fold.samples.to(place.device)
    members = [Member(fold.task, c.config, c.seed) for c in candidates]
    leaking = "released" in options.protocols
    keepers = {"clean": chosen_epoch([v.epoch for v in validations])}
    if leaking:
        keepers["released"] = best_epoch([[m] for m in range(len(members))], "zsl_per_sample")
    fitting = place.fitting(
        "test",
        method,
        members,
        last_epoch=candidates[0].config.epochs - 1 if leaking else max(v.epoch for v in validations),
        evaluate=(lambda _, model: zero_shot_metrics(model, samples)) if leaking else None,
        keepers=keepers,
    )
    fitting.fit()
    tests = []
    for m, validation in enumerate(validations):
        if not all(math.isfinite(value) for value in fitting.history[-1][m].values()):
            tests.append(None)
            continue
        models = {p: fitting.kept[p][m].joined_by(validation.combination) for p in options.protocols}
        metrics = {p: all_metrics(model, samples) for p, model in models.items()}
        tests.append(Test([epoch[m] for epoch in fitting.history], metrics, models))
    return tests


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
    if config.combination == "stacking":
        stacking = fit_stacking(seen, unseen, labels)
        scores = stacking.scores(seen, unseen)
        return stacking, scores, scores
    gate, p_seen = fit_gate(config.combination, seen, unseen, labels, config.temperature_scaling)
    return gate, gate.scores(seen, unseen, p_seen), gate.curve_scores(seen, unseen, p_seen)
