"""The two protocols around a method's fit.

`clean`: hold out as many pseudo-unseen classes, which are seen ones, as there are unseen classes; choose the epoch, the
configuration and the combination of seen and unseen scores on them; refit on all seen classes; test once.
`released`: as in the papers' released code, the epoch with the best accuracy on the unseen test classes themselves. It
leaks test data, is computed beside the clean result from the same fit, and is always labelled.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from platform.capabilities import first_epoch_of, model_for
from platform.errors import InputError
from platform.method import Member, Method, Model, ScoringConfig, epochs_of
from platform.training.evaluation import (
    all_metrics,
    caption_metrics,
    cluster_metrics,
    joint_metrics,
    seen_alone,
    step_metrics,
    zero_shot_by_class,
    zero_shot_from_scores,
    zero_shot_metrics,
)
from platform.training.fitting import (
    Fitting,
    History,
    ModelSelection,
    TrainingGroup,
    best_epoch,
    chosen_epoch,
    epoch_selected,
    is_finite,
    until_they_end,
)
from platform.workers import Workers
from platform.zeroshot.choosing import Choice, latest_of_equals
from platform.zeroshot.gate import Combination, Stacking, carried, fit_gate, fit_stacking, seen_share
from platform.zeroshot.problem import Fold, Problem
from platform.zeroshot.task import Samples

Report = Callable[[str, int, Sequence[Mapping[str, float]]], None]  # stage, epoch, metrics of each member
HeldOut = tuple[Tensor, Tensor, Tensor]  # (N, S) seen and (N, U) unseen log-probabilities of a fold, and (N,) labels
Sides = tuple[Tensor, Tensor]  # (M, S) and (M, U) log-probabilities of held-out samples of seen classes
_OF_CLASS = "zsl of class "  # prefix of the accuracies on each pseudo-unseen class, from which the epoch is chosen


class ProtocolOptions(BaseModel):
    """How a configuration is validated and tested."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocols: tuple[Literal["clean", "released"], ...] = ("clean", "released")
    folds: int = Field(3, ge=1, description="draws of pseudo-unseen classes that validation averages over")
    seen_fraction: float = Field(0.2, gt=0, lt=1, description="share of the seen samples that validation holds out")
    fold_seed: int = Field(0, ge=0, description="seed of the draw of the pseudo-unseen classes")

    @property
    def validation(self) -> str:
        """How a configuration is validated, in words: what results must have in common to be compared."""
        held_out = f"{self.seen_fraction:g} of the seen samples held out"
        return f"folds: {self.folds}, drawn by seed {self.fold_seed}; {held_out}"


@dataclass(frozen=True)
class Candidate:
    """One configuration with one seed on one class split."""

    config: ScoringConfig
    seed: int
    split: str


@dataclass(frozen=True)
class Validation:
    """What validation found for a candidate. epochs: metrics of each epoch, mean over folds; epoch: the chosen one.

    seen_share: from which to recalibrate `combination` on the final model (`platform.zeroshot.gate.carried`); None:
    `combination` is kept. above_chance: whether any epoch's zero-shot accuracy is significantly above chance; otherwise
    the last epoch is chosen. by_fold: `metrics` on each fold, which show their spread. held_out: each fold's scores at
    the chosen epoch, for ensembles.
    """

    epochs: Sequence[Mapping[str, float]]
    epoch: int
    metrics: Mapping[str, float]
    combination: Combination
    seen_share: float | None = None
    above_chance: bool = True
    by_fold: Sequence[Mapping[str, float]] = ()
    held_out: Sequence[HeldOut] = field(default=(), repr=False, compare=False)


@dataclass(frozen=True)
class Test:
    """A candidate's test: each protocol's metrics, model and epoch.

    held_out_seen: by protocol, scores of seen samples that a second fit was not trained on, from which the combination
    was recalibrated. Empty where it was not.
    """

    epochs: Sequence[Mapping[str, float]]
    metrics: Mapping[str, Mapping[str, float]]
    models: Mapping[str, Model]
    held_out_seen: Mapping[str, Sides] = field(default_factory=dict, repr=False, compare=False)


Validations = list[Validation | None]  # of one configuration: split by split, seed by seed; None for one that diverged


class Scheduler(Protocol):
    """Decides which configurations of a pack go on at a rung, and which new ones take freed places."""

    def is_rung(self, config: ScoringConfig, epochs: int) -> bool:
        """Whether the scheduler decides after this many epochs."""

    def exchange(
        self, ended: Mapping[str, Validations], waiting: Mapping[str, Validations]
    ) -> tuple[Sequence[str], Mapping[str, ScoringConfig]]:
        """Takes the results of configurations that have ended or wait at a rung; returns which of those that wait stop,
        and the configurations that join. All are by key.

        A stopped configuration keeps the outcome that it had at the rung.
        """


@dataclass(frozen=True)
class TrainingContext:
    """What a training stage runs with: device, checkpoint folder, the callback for its epochs, and its worker's rank.

    pack: the index, where a stage trains several packs one after the other.
    """

    device: torch.device
    folder: Path | None = None
    checkpoint_seconds: float = 15.0
    report: Report | None = None
    rank: int = 0
    world_size: int = 1
    pack: int = 0

    def fitting(self, stage: str, method: Method, training_groups: Sequence[TrainingGroup], **options: Any) -> Fitting:
        report = self.report
        return Fitting(
            method,
            training_groups,
            Workers(self.device, self.rank, self.world_size),
            checkpoint=self.folder and self.folder / f"{stage}-{self.pack}.safetensors",
            checkpoint_seconds=self.checkpoint_seconds,
            on_epoch=report and (lambda epoch, metrics: report(stage, epoch, metrics)),
            **options,
        )


def validate(
    method: Method,
    problems: Mapping[str, Problem],
    configs: Mapping[str, ScoringConfig],
    seeds: Sequence[int],
    options: ProtocolOptions,
    context: TrainingContext,
    scheduler: Scheduler | None = None,
) -> dict[str, Validations]:
    """Validate configurations side by side, each on every split with every seed over all folds.

    problems: by split; configs: by key. A scheduler may stop configurations and add others; then all results go to the
    scheduler, and the returned dict is empty.
    """
    validation = _ValidationStage(problems, seeds, options, context)
    found: dict[str, Validations] = {}

    def following(training_groups: Sequence[TrainingGroup]) -> list[TrainingGroup]:
        going_on = until_they_end(training_groups)
        if scheduler is None:
            return going_on
        waiting = [g for g in going_on if scheduler.is_rung(g.members[0].config, len(g.history))]
        ended = [g for g in training_groups if g.ended]
        if not waiting and not ended:
            return going_on
        stopped, joining = scheduler.exchange(
            {g.key: validation.found(g) for g in ended}, {g.key: validation.found(g) for g in waiting}
        )
        left = {g.key for g in ended} | set(stopped)
        for group in training_groups:
            group.settled = group.key in left
        new = [validation.training_group(key, config) for key, config in joining.items()]
        return [g for g in going_on if g.key not in left] + new

    training_groups = [validation.training_group(key, config) for key, config in configs.items()]
    context.fitting("validation", method, training_groups, following=following).fit()
    if scheduler is None:
        found = {group.key: validation.found(group) for group in training_groups}
    return found


class _ValidationStage:
    """Makes the training group of a configuration, and reads from it what validation found."""

    def __init__(
        self, problems: Mapping[str, Problem], seeds: Sequence[int], options: ProtocolOptions, context: TrainingContext
    ) -> None:
        self.problems, self.options, self.device = problems, options, context.device
        self.prepared: dict[tuple[str, str], tuple[list[Fold], list[Samples]]] = {}
        counts = {split: len(self.folds(split, "auto")[0]) for split in problems}
        # members of a training group: split by split, seed by seed, fold by fold
        self.members = [
            (split, seed, fold) for split, count in counts.items() for seed in seeds for fold in range(count)
        ]
        self.groups: dict[tuple[str, int], list[int]] = {}
        self.together: dict[str, dict[int, list[int]]] = {}
        for m, (split, seed, fold) in enumerate(self.members):
            self.groups.setdefault((split, seed), []).append(m)
            # one epoch for all seeds of a configuration: the few pseudo-unseen samples of a single seed choose it badly
            self.together.setdefault(split, {}).setdefault(fold, []).append(m)

    def folds(self, split: str, normalise: str) -> tuple[list[Fold], list[Samples]]:
        """A split's folds as a configuration wants them normalised, and their samples to score on the device."""
        if (split, normalise) not in self.prepared:
            options = self.options
            folds = self.problems[split].validation_folds(
                options.folds, options.seen_fraction, options.fold_seed, normalise
            )
            self.prepared[split, normalise] = folds, [fold.samples.to(self.device) for fold in folds]
        return self.prepared[split, normalise]

    def training_group(self, key: str, config: ScoringConfig) -> TrainingGroup:
        normalise = config.normalise

        def evaluated(member: int, model: Model) -> dict[str, float]:
            split, _, fold = self.members[member]
            samples = self.folds(split, normalise)[1][fold]
            metrics, by_class = zero_shot_by_class(model, samples)
            numbered = {f"{_OF_CLASS}{number}": value for number, value in enumerate(by_class)}
            return {**metrics, **numbered, **seen_alone(model, samples)}

        return TrainingGroup(
            key,
            [Member(self.folds(split, normalise)[0][fold].task, config, seed) for split, seed, fold in self.members],
            epochs_of(config) - 1,
            evaluated,
            {"best": self._selection(first_epoch_of(config))},
        )

    def _selection(self, first: int) -> ModelSelection:
        known: list[list[Tensor]] = []  # epoch by epoch, each member's accuracies; a cache

        def wanted(history: History) -> list[int]:
            known.extend(_by_class(epoch) for epoch in history[len(known) :])
            chosen = {split: self._choice(split, history, first, known) for split in self.together}
            return [m for m, (split, *_) in enumerate(self.members) if chosen[split].place == len(history) - 1]

        return wanted

    def _choice(self, split: str, history: History, first: int, known: Sequence[Sequence[Tensor]]) -> Choice:
        """The epoch, by the accuracy on each pseudo-unseen class of each fold, averaged over the finite seeds."""
        units, chances = [], []
        for members in self.together[split].values():
            counted = [m for m in members if is_finite(history[-1], m)] or members
            own = [
                torch.stack([epoch[m] for epoch in known[: len(history)]]) for m in counted
            ]  # (epochs, classes) each
            units.append(torch.stack(own).mean(0))
            chances.append(1 / own[0].shape[1])
        return latest_of_equals(torch.cat(units, dim=1).nan_to_num(), sum(chances) / len(chances), first)

    def found(self, training_group: TrainingGroup) -> Validations:
        """The results of a training group at its current epoch, the last one or a rung."""
        return [self._of(training_group, split, group) for (split, _), group in self.groups.items()]

    def _of(self, training_group: TrainingGroup, split: str, group: Sequence[int]) -> Validation | None:
        if not all(is_finite(training_group.history[-1], m) for m in group):
            return None
        config = training_group.members[0].config
        models = [training_group.kept["best"][m] for m in group]
        held_out = [
            tuple(part.cpu() for part in (*model_for(m, s).sides(s.features), s.labels))
            for m, s in zip(models, self.folds(split, config.normalise)[1], strict=True)
        ]  # on the CPU: the gate's many small fits run there
        if any(part.isnan().any() for seen, unseen, _ in held_out for part in (seen, unseen)):
            return None  # the last step overflowed after its loss was computed
        epochs = [_mean([epoch[m] for m in group]) for epoch in training_group.history]
        epoch = epoch_selected(training_group.selections["best"], training_group.history, group[0])
        choice = self._choice(
            split, training_group.history, first_epoch_of(config), [_by_class(e) for e in training_group.history]
        )
        zero_shot = {name: epochs[epoch][name] for name in ("zsl", "zsl_per_sample")}
        found = combined(config, held_out)
        return Validation(
            epochs=epochs,
            epoch=epoch,
            metrics={**zero_shot, **found.metrics},
            combination=found.combination,
            seen_share=found.seen_share,
            above_chance=choice.above_chance,
            by_fold=found.by_fold,
            held_out=held_out,
        )


def refit_and_test(
    method: Method,
    problems: Mapping[str, Problem],
    candidates: Sequence[Candidate],
    validations: Sequence[Validation],
    options: ProtocolOptions,
    context: TrainingContext,
) -> list[Test | None]:
    """Fit candidates on all seen classes, side by side, and test each protocol's choice; None for one that diverged.

    problems: by split. The clean protocol's model is the one after the validated epoch; `released` also evaluates every
    epoch on the unseen test classes and takes the best. Where the combination is to be recalibrated, a second fit
    leaves some of the seen samples out and scores them at the same epoch.
    """
    data = [(candidate.split, candidate.config.normalise) for candidate in candidates]
    carrying = {own for own, validation in zip(data, validations, strict=True) if validation.seen_share is not None}
    prepared = {
        (split, normalise): _Final.of(
            problems[split], normalise, options if (split, normalise) in carrying else None, context.device
        )
        for split, normalise in dict.fromkeys(data)
    }
    finals = [prepared[own] for own in data]
    leaking = "released" in options.protocols

    def training_group(number: int, candidate: Candidate, validation: Validation, final: _Final) -> TrainingGroup:
        tasks = [final.fold.task]
        if validation.seen_share is not None and final.held_out is not None:
            tasks.append(final.held_out.task)
        selections = {"clean": chosen_epoch([validation.epoch] * len(tasks))}
        if leaking:
            best = best_epoch([[0]], "zsl_per_sample", first_epoch_of(candidate.config))
            selections["released"] = lambda history: list(range(len(tasks))) if best(history) else []
        return TrainingGroup(
            str(number),
            [Member(task, candidate.config, candidate.seed) for task in tasks],
            epochs_of(candidate.config) - 1 if leaking else validation.epoch,
            (lambda member, model: {} if member else zero_shot_metrics(model, final.samples)) if leaking else None,
            selections,
        )

    triples = list(zip(candidates, validations, finals, strict=True))
    training_groups = [training_group(i, *triple) for i, triple in enumerate(triples)]
    context.fitting("test", method, training_groups).fit()
    tests = []
    for (_, validation, final), fitted in zip(triples, training_groups, strict=True):
        if not all(is_finite(fitted.history[-1], m) for m in range(len(fitted.members))):
            tests.append(None)
            continue
        models, held_out_seen = {}, {}
        for protocol in options.protocols:
            model, *others = (fitted.kept[protocol][m] for m in range(len(fitted.members)))
            combination = validation.combination
            if others:
                x = final.held_out.samples.to(context.device)
                held_out_seen[protocol] = tuple(side.cpu() for side in model_for(others[0], x).sides(x.features))
                combination = carried(combination, validation.seen_share, *held_out_seen[protocol])
            models[protocol] = model.joined_by(combination)
        metrics = {
            protocol: {
                **all_metrics(model, final.samples),
                **step_metrics(model, final.samples),
                **caption_metrics(model, final.samples),
                **cluster_metrics(model, final.fold.task.samples(), context.device),
            }
            for protocol, model in models.items()
        }
        tests.append(Test([epoch[0] for epoch in fitted.history], metrics, models, held_out_seen))
    return tests


@dataclass(frozen=True)
class _Final:
    """The final training set, the test samples on the device, and perhaps a fold that holds seen samples out."""

    fold: Fold
    samples: Samples
    held_out: Fold | None

    @classmethod
    def of(cls, problem: Problem, normalise: str, holding: ProtocolOptions | None, device: torch.device) -> "_Final":
        fold = problem.final(normalise)
        held_out = holding and problem.held_out(holding.seen_fraction, holding.fold_seed, normalise)
        return cls(fold, fold.samples.to(device), held_out)


@dataclass(frozen=True)
class Combined:
    """The combination of seen and unseen scores, and its joint metrics on held-out samples.

    seen_share, by_fold: as in `Validation`; the latter with the zero-shot accuracies.
    """

    combination: Combination
    metrics: Mapping[str, float]
    by_fold: Sequence[Mapping[str, float]]
    seen_share: float | None


def combined(config: ScoringConfig, held_out: Sequence[HeldOut]) -> Combined:
    """The combination that a configuration asks for, fitted on all folds together."""
    seen, unseen, labels = pooled(held_out)
    classes = seen.shape[1]
    if min(int((labels < classes).sum()), int((labels >= classes).sum())) < 2:
        raise InputError(f"{len(labels)} held-out samples are too few to join seen and unseen scores; hold out more")
    logit = ()  # of a gate, out of fold
    if config.combination == "joint":  # the method's own scores over all classes, as they are
        combination = Stacking(0.0)
    elif config.combination == "stacking":
        combination = fit_stacking(seen, unseen, labels)
    else:
        combination, *logit = fit_gate(config.gate_options, seen, unseen, labels)
    scores, curve = (give(seen, unseen, *logit) for give in (combination.scores, combination.curve_scores))
    share = None
    if config.combination != "joint" and config.calibration == "carried":
        share = seen_share(combination.margins(seen, unseen, *logit), labels, classes)
    by_fold, sizes = [], [len(of_fold) for *_, of_fold in held_out]
    for part in zip(*(every.split(sizes) for every in (scores, curve, labels, unseen)), strict=True):
        *joint, of_fold, of_unseen = part
        by_fold.append(
            {**zero_shot_from_scores(of_unseen, of_fold, classes), **joint_metrics(*joint, of_fold, classes)}
        )
    return Combined(combination, joint_metrics(scores, curve, labels, classes), by_fold, share)


def _by_class(epoch: Sequence[Mapping[str, float]]) -> list[Tensor]:
    """Each member's accuracies on its pseudo-unseen classes after an epoch."""
    return [torch.tensor([v for name, v in own.items() if name.startswith(_OF_CLASS)]).double() for own in epoch]


def _mean(metrics: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = [name for name in metrics[0] if not name.startswith(_OF_CLASS)]
    return {name: sum(m[name] for m in metrics) / len(metrics) for name in names}


def pooled(scored: Sequence[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    """(ΣN, S) seen and (ΣN, U) unseen scores and (ΣN,) labels of all folds together.

    Classes have the same numbers in all folds; a fold with fewer classes gets columns of −∞.
    """
    most_seen, most_unseen = (max(s[side].shape[1] for s in scored) for side in (0, 1))
    pooled = []
    for seen, unseen, labels in scored:
        renumbered = torch.where(labels < seen.shape[1], labels, labels - seen.shape[1] + most_seen)
        pooled.append((_widened(seen, most_seen), _widened(unseen, most_unseen), renumbered))
    return tuple(torch.cat(parts) for parts in zip(*pooled, strict=True))


def _widened(scores: Tensor, columns: int) -> Tensor:
    return torch.nn.functional.pad(scores, (0, columns - scores.shape[1]), value=-math.inf)
