"""The closed-form baselines of the tables, their penalties chosen on each split's pseudo-unseen classes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.tested import tested
from platform.report.results import Result
from platform.training.trainable import Experiment, train
from platform.zeroshot.problem import ProblemOptions

_GAMMAS = [10.0**power for power in range(-3, 6)]
GRIDS: Mapping[str, Sequence[Mapping[str, Any]]] = {  # as in search_spaces/
    "eszsl": [{"gamma": gamma, "lambda_": 10.0**power} for gamma in _GAMMAS for power in range(-3, 4)],
    "ridge": [{"gamma": gamma} for gamma in _GAMMAS],
}


def tested_closed_form(name: str, problem: ProblemOptions, seeds: Sequence[int], folder: Path) -> list[Result]:
    """The tests of what is best of a grid by the mean ZSL of the folds.

    A solution draws nothing: its seeds differ in which seen samples are held out for the gate alone.
    """
    method = f"methods.{name}"
    grid = Experiment(
        method=method, problem=problem, configs=tuple(map(dict, GRIDS[name])), seeds=(seeds[0],), test=False
    )
    best = max(train(grid, folder / "grid"), key=lambda outcome: outcome.validation["zsl"])
    chosen = Experiment(method=method, problem=problem, configs=(best.config,), seeds=tuple(seeds), test=True)
    return tested(chosen, folder / "chosen")
