"""The only trainable: runs an experiment. It is called directly, by a Tune trial or by Ray Train's workers."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, TypeAdapter

from platform.errors import InputError, Unavailable
from platform.files import write_json, writing
from platform.method import Method, ScoringConfig, load_method
from platform.training.captions import CAPTIONS_FILE, write_captions
from platform.training.checkpoints import read_checkpoint, write_checkpoint
from platform.training.devices import device_of
from platform.training.protocols import (
    Candidate,
    HeldOut,
    ProtocolOptions,
    Report,
    Scheduler,
    Sides,
    Test,
    TrainingContext,
    Validation,
    Validations,
    refit_and_test,
    validate,
)
from platform.training.saved_models import save_model
from platform.zeroshot.counts import counts_of
from platform.zeroshot.normaliser import Normaliser
from platform.zeroshot.problem import Problem, ProblemOptions, load_problem

_OUTCOMES, _ENSEMBLES = "outcomes.json", "ensembles.json"
_HELD_OUT = ("seen", "unseen", "labels")
_AT_CHANCE = (
    "validation is not above chance on the pseudo-unseen classes by two standard errors: what it says of this "
    "configuration may be luck"
)
_NOT_TOLD_APART = (
    "validation told no epoch apart: none is above chance on the pseudo-unseen classes by two standard errors, so the "
    "last one was taken"
)


class Experiment(BaseModel):
    """Everything that decides an outcome. Configurations train side by side, each on every split with every seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    problem: ProblemOptions
    protocol: ProtocolOptions = ProtocolOptions()
    configs: tuple[dict[str, Any], ...]
    keys: tuple[str, ...] = ()  # the configurations' names; their numbers by default
    seeds: tuple[int, ...]
    splits: tuple[str, ...] = ()  # the problem's own by default
    test: bool  # whether to refit on all seen classes and test; a search's trials only validate
    device: str = "auto"
    checkpoint_seconds: float = 15.0

    def named(self) -> dict[str, dict[str, Any]]:
        """The configurations by key."""
        return dict(zip(self.keys or map(str, range(len(self.configs))), self.configs, strict=True))

    @property
    def loaded_method(self) -> Method:
        """The method, which a process imports once. Raises InputError where there is none."""
        return load_method(self.method)

    def loaded(self, split: str) -> Problem:
        """The problem on a split, read anew and not kept: it holds copies of its samples.

        Raises Unavailable where it cannot be read, which is no configuration's fault.
        """
        try:
            return load_problem(self.problem.on(split))
        except (InputError, OSError) as error:
            raise Unavailable(str(error)) from error


class Outcome(BaseModel):
    """The result of one configuration with one seed on one split, or of an ensemble."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str = "0"
    config: dict[str, Any]
    seed: int
    split: str
    status: Literal["finished", "failed", "stopped"]  # stopped: by early stopping
    reason: str = ""
    ensemble: str = ""  # what the ensemble consists of; empty for a single model
    epochs: list[dict[str, float]] = []  # of validation, mean over folds
    epoch: int | None = None  # the chosen one, from 0
    validation: dict[str, float] = {}
    folds: list[dict[str, float]] = []  # the same on each fold by itself
    test_epochs: list[dict[str, float]] = []
    test: dict[str, dict[str, float]] = {}  # protocol to metrics
    # classes and samples of the test (`seen`, `unseen`, `seen_samples`, `unseen_samples`) and classes of validation
    # (`validation_seen`, `validation_unseen`, the minimum over folds); old files lack some
    counts: dict[str, int] = {}
    models: dict[str, str] = {}  # protocol to the model's folder, relative to the experiment's
    held_out: str = ""  # the file of its scores of held-out samples, relative to the same folder
    notes: list[str] = []  # warnings for the reader of its numbers
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """A name that is unique among the outcomes of its configuration on its split."""
        return f"ensemble-{self.ensemble.replace(' ', '-')}" if self.ensemble else f"seed-{self.seed}"

    @property
    def kind(self) -> str:
        """`single`, or `ensemble of …`."""
        return f"ensemble of {self.ensemble}" if self.ensemble else "single"


def train(
    experiment: Experiment,
    folder: Path,
    report: Report | None = None,
    scheduler: Scheduler | None = None,
    rank: int = 0,
    world_size: int = 1,
) -> list[Outcome]:
    """Run an experiment in `folder`, or resume one that was interrupted there; a finished one is only read.

    Configurations train side by side where their method's `pack_by` lets them. With a scheduler they must agree in it,
    nothing is tested, and outcomes go to the scheduler. Raises InputError where the experiment cannot be run, and
    Unavailable where that is no configuration's fault.
    """
    if (finished := read_outcomes(folder)) is not None:
        return finished
    started = time.monotonic()
    method = experiment.loaded_method
    configs = {key: method.configure(config) for key, config in experiment.named().items()}
    splits = experiment.splits or (experiment.problem.split,)
    problems, device = {split: experiment.loaded(split) for split in splits}, _device(experiment.device)
    with writing(folder.parent):
        folder.mkdir(parents=True, exist_ok=True)
    context = TrainingContext(device, folder, experiment.checkpoint_seconds, report, rank, world_size)
    validations = {}
    for number, pack in enumerate(packs_of(method, configs)):
        own = {key: configs[key] for key in pack}
        there = replace(context, pack=number)
        validations |= validate(method, problems, own, experiment.seeds, experiment.protocol, there, scheduler)
    if scheduler is not None:
        return []
    outcomes = [
        outcome
        for key, config in configs.items()
        for outcome in outcomes_of(key, config.model_dump(), experiment.seeds, splits, validations[key])
    ]
    tested_on = {s: counts_of(p.task.seen, p.task.unseen, p.test) for s, p in problems.items()}
    outcomes = [o.model_copy(update={"counts": {**tested_on[o.split], **o.counts}}) for o in outcomes]
    flat = [validation for key in configs for validation in validations[key]]
    if experiment.test:
        tested = _tested(experiment, problems, outcomes, flat, context)
        outcomes = _save(experiment, problems, outcomes, flat, tested, context)
    seconds = (time.monotonic() - started) / len(outcomes)
    outcomes = [o.model_copy(update={"seconds": seconds}) for o in outcomes]
    if rank == 0:
        write_outcomes(folder, outcomes)
        for checkpoint in folder.glob("*.safetensors"):
            checkpoint.unlink()
    return outcomes


def _device(name: str) -> torch.device:
    try:
        return device_of(name)
    except InputError as error:
        raise Unavailable(str(error)) from error


def packs_of(method: Method, configs: Mapping[str, ScoringConfig]) -> list[list[str]]:
    """Keys of configurations that can train side by side, in their order."""
    packs: dict[tuple, list[str]] = {}
    for key, config in configs.items():
        packs.setdefault(tuple(getattr(config, name) for name in method.pack_by), []).append(key)
    return list(packs.values())


def outcomes_of(
    key: str, config: Mapping[str, Any], seeds: Sequence[int], splits: Sequence[str], validations: Validations
) -> list[Outcome]:
    """A configuration's outcomes, split by split and seed by seed."""
    named = [(split, seed) for split in splits for seed in seeds]
    outcomes = []
    for (split, seed), validation in zip(named, validations, strict=True):
        outcome = Outcome(key=key, config=dict(config), seed=seed, split=split, status="finished")
        if validation is None:
            outcomes.append(_failed(outcome, "in validation"))
            continue
        reached = {
            "epochs": list(validation.epochs),
            "epoch": validation.epoch,
            "validation": dict(validation.metrics),
            "folds": list(validation.by_fold),
            "notes": [] if validation.above_chance else [_NOT_TOLD_APART if len(validation.epochs) > 1 else _AT_CHANCE],
            "counts": _validation_counts(validation),
        }
        outcomes.append(outcome.model_copy(update=reached))
    return outcomes


def read_outcomes(folder: Path) -> list[Outcome] | None:
    """The outcomes of a finished experiment, or None."""
    path = folder / _OUTCOMES
    return TypeAdapter(list[Outcome]).validate_json(path.read_bytes()) if path.exists() else None


def configuration_of(model: Path) -> dict[str, Any]:
    """The fields that a model in a run's folder `models` was trained with; empty where no run stands around it."""
    place = f"{model.resolve().parent.name}/{model.resolve().name}"
    outcomes = read_outcomes(model.resolve().parent.parent) or ()
    return next((dict(o.config) for o in outcomes if place in o.models.values()), {})


def write_outcomes(folder: Path, outcomes: Sequence[Outcome]) -> None:
    with writing(folder.parent):
        folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / _OUTCOMES, [o.model_dump() for o in outcomes])


def read_ensembles(folder: Path) -> list[Outcome]:
    """The outcomes of ensembles of a finished experiment, if any."""
    path = folder / _ENSEMBLES
    return TypeAdapter(list[Outcome]).validate_json(path.read_bytes()) if path.exists() else []


def write_ensembles(folder: Path, outcomes: Sequence[Outcome]) -> None:
    write_json(folder / _ENSEMBLES, [o.model_dump() for o in outcomes])


def _validation_counts(validation: Validation) -> dict[str, int]:
    names = {"validation_seen": 0, "validation_unseen": 1}  # index of the scores, which have a column a class
    folds = validation.held_out
    return {name: min(fold[side].shape[1] for fold in folds) for name, side in names.items()} if folds else {}


def _failed(outcome: Outcome, where: str) -> Outcome:
    reason = f"its losses were no longer finite {where}; a smaller learning_rate may help"
    return outcome.model_copy(update={"status": "failed", "reason": reason})


def _tested(
    experiment: Experiment,
    problems: Mapping[str, Problem],
    outcomes: Sequence[Outcome],
    validations: Sequence[Validation | None],
    context: TrainingContext,
) -> list[Test | None]:
    """Each outcome's test; None where validation failed or the refit diverges."""
    method = experiment.loaded_method
    sound = {
        str(i): Candidate(method.configure(o.config), o.seed, o.split)
        for i, (o, validation) in enumerate(zip(outcomes, validations, strict=True))
        if validation is not None
    }
    tests: list[Test | None] = [None] * len(outcomes)
    for number, pack in enumerate(packs_of(method, {i: candidate.config for i, candidate in sound.items()})):
        chosen = [validations[int(i)] for i in pack]
        there = replace(context, pack=number)
        found = refit_and_test(method, problems, [sound[i] for i in pack], chosen, experiment.protocol, there)
        for i, tested in zip(pack, found, strict=True):
            tests[int(i)] = tested
    return tests


def _save(
    experiment: Experiment,
    problems: Mapping[str, Problem],
    outcomes: Sequence[Outcome],
    validations: Sequence[Validation | None],
    tests: Sequence[Test | None],
    context: TrainingContext,
) -> list[Outcome]:
    """Save models and the held-out scores that ensembles need; returns the outcomes with their tests.

    Only the first worker writes.
    """
    found = []
    for i, (outcome, validation, tested) in enumerate(zip(outcomes, validations, tests, strict=True)):
        if tested is None:
            found.append(_failed(outcome, "on all seen classes") if outcome.status == "finished" else outcome)
            continue
        places = {protocol: f"models/{i}-{protocol}" for protocol in tested.models}
        held_out = f"models/{i}-held-out.safetensors"
        if context.rank == 0:
            fold = problems[outcome.split].final(outcome.config["normalise"])
            record = record_of_fold(experiment, fold.normaliser, outcome.split)
            for protocol, model in tested.models.items():
                place = context.folder / places[protocol]
                save_model(experiment.method, model, place, {"protocol": protocol, **record})
                write_captions(place / CAPTIONS_FILE, model, fold.samples)
            _write_held_out(context.folder / held_out, validation, tested)
        reached = {"test": dict(tested.metrics), "test_epochs": list(tested.epochs), "models": places}
        found.append(outcome.model_copy(update={**reached, "held_out": held_out}))
    return found


def record_of_fold(experiment: Experiment, normaliser: Normaliser, split: str) -> dict[str, Any]:
    """What a saved model needs to take new samples or new class names: see `platform.evaluate`."""
    return {"problem": experiment.problem.on(split).model_dump(mode="json"), "normaliser": normaliser.record()}


def read_held_out(path: Path) -> tuple[list[HeldOut], dict[str, Sides]]:
    """The scores that ensembles need: each fold's, and by protocol those of held-out seen samples."""
    tensors, record = read_checkpoint(path)
    folds = [tuple(tensors[f"{fold}.{name}"] for name in _HELD_OUT) for fold in range(record["folds"])]
    sides = {p: (tensors[f"{p}.seen"], tensors[f"{p}.unseen"]) for p in record.get("protocols", ())}
    return folds, sides


def _write_held_out(path: Path, validation: Validation, tested: Test) -> None:
    named = {str(fold): scores for fold, scores in enumerate(validation.held_out)} | tested.held_out_seen
    parts = {
        f"{name}.{of}": part for name, scores in named.items() for of, part in zip(_HELD_OUT, scores, strict=False)
    }
    write_checkpoint(path, parts, {"folds": len(validation.held_out), "protocols": list(tested.held_out_seen)})
