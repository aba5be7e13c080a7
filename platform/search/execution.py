"""Ray Tune carries out experiments that a source hands out one by one, on however many machines there are."""

import shutil
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import TypeAdapter
from ray import tune
from ray.tune.search import Searcher

from platform.training.trainable import Experiment, Outcome, train

_OUTCOMES = TypeAdapter(list[Outcome])
_REPORT_SECONDS = 2.0  # Tune answers a report in about as long as a small trial's epoch takes
_TUNES_FILES = "tune-"
_FAILURES = 3  # a worker may be lost that often before its trial counts as failed


@dataclass(frozen=True)
class Job:
    """An experiment to carry out, under a key that stays the same after a resume."""

    key: str
    experiment: Experiment
    folder: Path


class Source(Protocol):
    """Hands out jobs and takes what became of them, in the driver's process."""

    def next(self) -> Job | None:
        """The next job, or None where there is none left."""

    def ended(self, job: Job, outcomes: Sequence[Outcome] | None) -> None:
        """Outcomes, or None where the trial failed for good."""


@dataclass(frozen=True)
class Resources:
    """What one trial gets, and how many run at a time (as many as fit, where None)."""

    cpus: float = 1.0
    gpus: float = 0.0
    concurrent: int | None = None

    def fitting(self, cpus: float, gpus: float) -> int:
        """How many trials run at a time on machines with that many CPUs and GPUs."""
        fit = int(cpus // self.cpus) if self.cpus else int(gpus // self.gpus)
        fit = min(fit, int(gpus // self.gpus)) if self.gpus else fit
        return max(1, min(fit, self.concurrent or fit))


def execute(source: Source, resources: Resources, concurrent: int, storage: Path) -> None:
    """Carry out all jobs of a source. Ray must be connected; storage: a folder for Tune's own files, which go again."""
    tuner = tune.Tuner(
        tune.with_resources(_trial, {"CPU": resources.cpus, "GPU": resources.gpus}),
        tune_config=tune.TuneConfig(
            search_alg=_HandedOut(source),
            num_samples=-1,
            max_concurrent_trials=concurrent,
            reuse_actors=True,  # starting a process and importing PyTorch costs more than a short trial
            trial_name_creator=_name,
            trial_dirname_creator=_name,
        ),
        run_config=tune.RunConfig(
            name=f"{_TUNES_FILES}{time.time_ns()}",
            storage_path=str(storage.resolve()),
            failure_config=tune.FailureConfig(max_failures=_FAILURES),
            verbose=0,
        ),
    )
    _remove_tunes_files(storage)  # of a driver that was killed
    tuner.fit()
    _remove_tunes_files(storage)


def _remove_tunes_files(storage: Path) -> None:
    for folder in storage.glob(f"{_TUNES_FILES}*"):
        shutil.rmtree(folder, ignore_errors=True)


def _name(trial: "tune.experiment.Trial") -> str:
    return trial.config["key"]


class _HandedOut(Searcher):
    """Tune's view of a source."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source = source
        self.jobs: dict[str, Job] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        job = self.source.next()
        if job is None:
            return Searcher.FINISHED
        self.jobs[trial_id] = job
        return {"key": job.key, "experiment": job.experiment.model_dump_json(), "folder": str(job.folder.resolve())}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        outcomes = (result or {}).get("outcomes")
        self.source.ended(self.jobs.pop(trial_id), _OUTCOMES.validate_json(outcomes) if outcomes else None)

    def __deepcopy__(self, memo: dict[int, Any]) -> "_HandedOut":
        return self  # Tune copies its searcher before it starts; the source is this process's and cannot be copied

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "source": None, "jobs": {}}  # for Tune's own records, which nothing is read from

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the source's own study and folder hold all that a resume needs."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing; see `save`."""


def _trial(config: Mapping[str, Any]) -> None:
    """A Tune trial, in a worker's process: one experiment."""
    import torch

    torch.set_num_threads(max(1, int(tune.get_context().get_trial_resources().required_resources.get("CPU", 1))))
    experiment, folder = Experiment.model_validate_json(config["experiment"]), Path(config["folder"])
    try:
        outcomes = train(experiment, folder, report=_throttled_report())
    except Exception as error:  # this configuration's fault: the search goes on, and trying again would not help
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "error.txt").write_text(traceback.format_exc())
        for checkpoint in folder.glob("*.safetensors"):
            checkpoint.unlink()
        outcomes = [
            Outcome(config=c, seed=seed, status="failed", reason=f"{type(error).__name__}: {error}"[:500])
            for c, seed in zip(experiment.configs, experiment.seeds, strict=True)
        ]
    tune.report({"outcomes": _OUTCOMES.dump_json(outcomes).decode()})


def _throttled_report() -> Callable[[str, int, Sequence[Mapping[str, float]]], None]:
    last = time.monotonic()

    def report(stage: str, epoch: int, metrics: Sequence[Mapping[str, float]]) -> None:
        nonlocal last
        if time.monotonic() - last >= _REPORT_SECONDS:
            tune.report({"stage": stage, "epoch": epoch, **metrics[0]})
            last = time.monotonic()

    return report
