"""Seconds that a trial costs beyond its training: `python -m benchmarks.trial_overhead`.

The same short trials, one at a time: ours (Tune trials in processes that are used again), one process a trial, and a
Tune function that runs a one-worker TorchTrainer.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ray import tune

from benchmarks.record import keep
from platform import runtime
from platform.datasets.default import DEFAULT_SPLIT, default_dataset
from platform.search.execution import Job, Resources, execute
from platform.training.trainable import Experiment, Outcome, train
from platform.zeroshot.problem import ProblemOptions, load_problem


class Trials:
    """Hands out one experiment several times, and keeps what each one's own clock said."""

    def __init__(self, experiment: Experiment, count: int, folder: Path) -> None:
        self.jobs = [Job(f"trial-{i}", experiment, folder / f"trial-{i}") for i in range(count)]
        self.training: list[float] = []

    def next(self) -> Job | None:
        return self.jobs.pop() if self.jobs else None

    def ended(self, job: Job, outcomes: list[Outcome] | None) -> None:
        self.training.append(outcomes[0].seconds)


def ours(experiment: Experiment, count: int, folder: Path) -> float:
    source = Trials(experiment, count, folder)
    started = time.perf_counter()
    execute(source, Resources(), 1, folder)
    return (time.perf_counter() - started - sum(source.training)) / count


def process_a_trial(experiment: Experiment, count: int, folder: Path) -> float:
    return _tuned(_plain, experiment, count, folder, cpus=1.0)


def trainer_a_trial(experiment: Experiment, count: int, folder: Path) -> float:
    return _tuned(_with_trainer, experiment, count, folder, cpus=0.1)


def _tuned(trainable: Callable, experiment: Experiment, count: int, folder: Path, cpus: float) -> float:
    space = {"folder": tune.grid_search([str(folder / f"trial-{i}") for i in range(count)])}
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"CPU": cpus}),
        param_space={"experiment": experiment.model_dump_json(), **space},
        tune_config=tune.TuneConfig(max_concurrent_trials=1),
        run_config=tune.RunConfig(storage_path=str(folder), verbose=0),
    )
    started = time.perf_counter()
    results = tuner.fit()
    taken = time.perf_counter() - started
    return (taken - sum(r.metrics["seconds"] for r in results)) / count


def _plain(config: Mapping[str, Any]) -> None:
    outcomes = train(Experiment.model_validate_json(config["experiment"]), Path(config["folder"]))
    tune.report({"seconds": outcomes[0].seconds})


def _with_trainer(config: Mapping[str, Any]) -> None:
    from platform.training.workers import train_on_workers

    experiment = Experiment.model_validate_json(config["experiment"])
    outcomes = train_on_workers(experiment, Path(config["folder"]), workers=1, gpus=0.0)
    tune.report({"seconds": outcomes[0].seconds})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--trainers", type=int, default=3, help="trials with a TorchTrainer, which are slow")
    asked = parser.parse_args()
    problem = ProblemOptions(dataset=default_dataset().resolve(), split=DEFAULT_SPLIT)
    load_problem(problem)
    experiment = Experiment(method="methods.sadvae", problem=problem, configs=({"epochs": 2},), seeds=(0,), test=False)
    runtime.connect()
    rows = []
    for name, measure, count in (
        ("ours: processes used again", ours, asked.trials),
        ("one process a trial", process_a_trial, asked.trials),
        ("a one-worker TorchTrainer a trial", trainer_a_trial, asked.trainers),
    ):
        with tempfile.TemporaryDirectory() as folder:
            rows.append((name, count, measure(experiment, count, Path(folder))))
    baseline = rows[-1][2]
    keep(
        "trial_overhead",
        "What a trial costs beyond its training",
        ["", "trials", "seconds a trial", "times less than the TorchTrainer"],
        [[name, count, f"{seconds:.2f}", f"{baseline / seconds:.1f}"] for name, count, seconds in rows],
        ["One trial at a time; the first trial's process start and imports are in the mean."],
    )


if __name__ == "__main__":
    main()
