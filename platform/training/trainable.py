"""The one trainable: an experiment in, outcomes and models out. Called plainly, by a Tune trial or by Train workers."""

import time
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

from platform.method import load_method
from platform.training.checkpoints import write_json
from platform.training.devices import device_of
from platform.training.protocols import Candidate, ProtocolOptions, Report, Validation, Workplace, test, validate
from platform.training.saved_models import save_model
from platform.zeroshot.problem import Fold, ProblemOptions, load_problem

_OUTCOMES = "outcomes.json"


class Experiment(BaseModel):
    """Everything that decides an outcome. Configurations are trained side by side; each has its own seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    problem: ProblemOptions
    protocol: ProtocolOptions = ProtocolOptions()
    configs: tuple[dict[str, Any], ...]
    seeds: tuple[int, ...]
    test: bool  # also fit on all seen classes and test; a search's trials only validate
    device: str = "auto"
    checkpoint_seconds: float = 15.0


class Outcome(BaseModel):
    """What became of one configuration with one seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    config: dict[str, Any]
    seed: int
    status: Literal["finished", "failed"]
    reason: str = ""
    epochs: list[dict[str, float]] = []  # of validation, mean over folds
    epoch: int | None = None  # the chosen one, from 0
    validation: dict[str, float] = {}
    test_epochs: list[dict[str, float]] = []
    test: dict[str, dict[str, float]] = {}  # protocol to metrics
    models: dict[str, str] = {}  # protocol to the model's folder, relative to the experiment's
    seconds: float = 0.0


def train(
    experiment: Experiment, folder: Path, report: Report | None = None, rank: int = 0, world_size: int = 1
) -> list[Outcome]:
    """Run an experiment in `folder`, or go on with one that was cut off there; a finished one is only read.

    Every member must agree in its method's `pack_by`. Raises InputError where the experiment cannot be run.
    """
    if (finished := read_outcomes(folder)) is not None:
        return finished
    started = time.monotonic()
    method = load_method(experiment.method)
    candidates = [
        Candidate(method.configure(config), seed)
        for config, seed in zip(experiment.configs, experiment.seeds, strict=True)
    ]
    problem = load_problem(experiment.problem)
    folder.mkdir(parents=True, exist_ok=True)
    place = Workplace(device_of(experiment.device), folder, experiment.checkpoint_seconds, report, rank, world_size)
    validations = validate(method, problem, candidates, experiment.protocol, place)
    outcomes = [_outcome(c, v) for c, v in zip(candidates, validations, strict=True)]
    sound = [i for i, validation in enumerate(validations) if validation is not None]
    if experiment.test and sound:
        fold = problem.final()
        tests = test(
            method, fold, [candidates[i] for i in sound], [validations[i] for i in sound], experiment.protocol, place
        )
        for i, tested in zip(sound, tests, strict=True):
            if tested is None:
                outcomes[i] = _failed(candidates[i], "on all seen classes")
                continue
            models = {p: f"models/{i}-{p}" for p in tested.models}
            if rank == 0:
                for protocol, model in tested.models.items():
                    save_model(experiment.method, model, folder / models[protocol], _record(experiment, fold, protocol))
            outcomes[i] = outcomes[i].model_copy(
                update={"test": dict(tested.metrics), "test_epochs": list(tested.epochs), "models": models}
            )
    seconds = (time.monotonic() - started) / len(outcomes)
    outcomes = [o.model_copy(update={"seconds": seconds}) for o in outcomes]
    if rank == 0:
        write_json(folder / _OUTCOMES, [o.model_dump() for o in outcomes])
        for stage in ("validation", "test"):
            (folder / f"{stage}.safetensors").unlink(missing_ok=True)
    return outcomes


def read_outcomes(folder: Path) -> list[Outcome] | None:
    """The outcomes of a finished experiment, or None."""
    path = folder / _OUTCOMES
    return TypeAdapter(list[Outcome]).validate_json(path.read_bytes()) if path.exists() else None


def _outcome(candidate: Candidate, validation: Validation | None) -> Outcome:
    if validation is None:
        return _failed(candidate, "in validation")
    return Outcome(
        config=candidate.config.model_dump(),
        seed=candidate.seed,
        status="finished",
        epochs=list(validation.epochs),
        epoch=validation.epoch,
        validation=dict(validation.metrics),
    )


def _failed(candidate: Candidate, where: str) -> Outcome:
    reason = f"its losses were no longer finite {where}; a smaller learning_rate may help"
    return Outcome(config=candidate.config.model_dump(), seed=candidate.seed, status="failed", reason=reason)


def _record(experiment: Experiment, fold: Fold, protocol: str) -> dict[str, Any]:
    """What it takes to give a saved model new samples or new class names: see `platform.evaluate`."""
    return {
        "protocol": protocol,
        "problem": experiment.problem.model_dump(mode="json"),
        "normaliser": fold.normaliser.record(),
    }
