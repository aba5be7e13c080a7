"""Trials an hour of a search in packs, a process a trial, a TorchTrainer a trial: `python -m benchmarks.search`.

Data are made up in NTU-60's shape; `--samples` sets how long a trial is. All rows train the same configurations of the
second stage of search_spaces/sadvae.yaml. The last column is what a row takes beyond training the same configurations
in one plain process, with no Ray, no Optuna and no MLflow, as a share of its time; for it, each row runs one trial or
pack at a time.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ray import tune

from benchmarks.ntu_like import write_ntu_like
from benchmarks.record import keep
from platform import runtime
from platform.datasets.text import ClassText
from platform.method import load_method
from platform.search.execution import Resources
from platform.search.progress import Row
from platform.search.search import Search, SearchOptions
from platform.tracking.record import Tracker
from platform.training.protocols import ProtocolOptions
from platform.training.trainable import Experiment, packs_of, train
from platform.zeroshot.problem import ProblemOptions

METHOD, SPACE = "methods.sadvae", Path("search_spaces/sadvae.yaml")


class Silent:
    """A watch that keeps when the last stage began and its last trial ended."""

    def stage(self, name: str, done: int, total: int, fields: Sequence[str]) -> None:
        if fields:
            self.began = time.perf_counter()

    def trial(self, row: Row) -> None:
        self.ended = time.perf_counter()

    def tested(self, key: str) -> None:
        pass

    def said(self, text: str) -> None:
        print(text)

    def close(self) -> None:
        pass


def in_packs(
    problem: ProblemOptions, trials: int, concurrency: int, folder: Path
) -> tuple[float, list[dict[str, Any]]]:
    """Seconds of the second stage, with everything that a user gets, and its configurations."""
    options = SearchOptions(
        name="search", method=METHOD, problem=problem, protocol=ProtocolOptions(protocols=("clean",)), base={},
        trials=[1, trials], sampler="random", seed=0, seeds=1, splits=[problem.split], pack=None, halving=None,
        test_seeds=1, ensemble=1, cpus=1.0, gpus=0.0, device="cpu",
    )  # fmt: skip
    search = Search.create(folder / "search", options, SPACE.read_text())
    tracker, watch = Tracker(folder, "unseen"), Silent()
    tracker.parent("search", "search", {}, {})
    report = search.run(tracker, watch, Resources(), concurrency)
    return watch.ended - watch.began, [dict(row.values) for row in report.leaders]


def a_trial_each(
    trainable: Callable,
    cpus: float,
    configs: Sequence[Mapping[str, Any]],
    problem: ProblemOptions,
    concurrency: int,
    folder: Path,
) -> float:
    """Seconds of as many Tune trials as there are configurations, with neither Optuna nor MLflow."""
    experiments = [_experiment(problem, [c]).model_dump_json() for c in configs]
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"CPU": cpus}),
        param_space={"experiment": tune.grid_search(experiments), "folder": str(folder)},
        tune_config=tune.TuneConfig(max_concurrent_trials=concurrency),
        run_config=tune.RunConfig(storage_path=str(folder), verbose=0),
    )
    started = time.perf_counter()
    tuner.fit()
    return time.perf_counter() - started


def plainly(configs: Sequence[Mapping[str, Any]], problem: ProblemOptions, packed: bool, folder: Path) -> float:
    """Seconds of training alone, in this process with one thread."""
    method = load_method(METHOD)
    named = {str(i): method.configure(c) for i, c in enumerate(configs)}
    packs = packs_of(method, named) if packed else [[key] for key in named]
    torch.set_num_threads(1)
    train(_experiment(problem, configs[:1]), folder / "imports")
    started = time.perf_counter()
    for number, pack in enumerate(packs):
        train(_experiment(problem, [configs[int(key)] for key in pack]), folder / f"{packed}-{number}")
    return time.perf_counter() - started


def _experiment(problem: ProblemOptions, configs: Sequence[Mapping[str, Any]]) -> Experiment:
    protocol = ProtocolOptions(protocols=("clean",))
    return Experiment(
        method=METHOD, problem=problem, protocol=protocol, configs=tuple(configs), seeds=(0,), test=False, device="cpu"
    )


def _in_a_process(config: Mapping[str, Any]) -> None:
    torch.set_num_threads(1)
    train(
        Experiment.model_validate_json(config["experiment"]), Path(config["folder"]) / tune.get_context().get_trial_id()
    )


def _with_trainer(config: Mapping[str, Any]) -> None:
    from platform.training.workers import train_on_workers

    folder = Path(config["folder"]) / tune.get_context().get_trial_id()
    train_on_workers(Experiment.model_validate_json(config["experiment"]), folder, workers=1, gpus=0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=2400)
    parser.add_argument("--trials", type=int, default=48)
    parser.add_argument("--processes", type=int, default=12, help="trials of one process each, which are slower")
    parser.add_argument("--trainers", type=int, default=4, help="trials of a TorchTrainer each, which are slowest")
    asked = parser.parse_args()
    concurrency = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        dataset = write_ntu_like(folder / "data", asked.samples)
        problem = ProblemOptions(dataset=dataset.resolve(), split="55_5", text=ClassText(encoder="attributes"))
        runtime.connect()
        seconds, configs = in_packs(problem, asked.trials, concurrency, folder / "packs")
        alone, _ = in_packs(problem, asked.trials, 1, folder / "one-at-a-time")
        rows = [["packs", asked.trials, seconds, alone, plainly(configs, problem, True, folder / "plain")]]
        for name, trainable, cpus, count in (
            ("a trial a process", _in_a_process, 1.0, asked.processes),
            ("a TorchTrainer a trial", _with_trainer, 0.1, asked.trainers),
        ):
            own = configs[:count]
            seconds = a_trial_each(trainable, cpus, own, problem, concurrency, folder / f"{cpus}")
            alone = a_trial_each(trainable, cpus, own, problem, 1, folder / f"{cpus}-alone")
            plain = plainly(own, problem, False, folder / f"{cpus}-plain")
            rows.append([name, count, seconds, alone, plain])
    baseline = rows[1][1] / rows[1][2]
    keep(
        "search",
        f"Trials an hour of Table A's search, {asked.samples} samples, {concurrency} at a time",
        ["", "trials", "trials an hour", "times a trial a process", "beyond training, %"],
        [
            [n, t, f"{3600 * t / s:.0f}", f"{t / s / baseline:.2f}", f"{100 * (1 - p / a):.0f}"]
            for n, t, s, a, p in rows
        ],
        ["Packs: with Optuna, MLflow, the sizing of packs and everything else; the others: Tune alone."],
    )


if __name__ == "__main__":
    main()
