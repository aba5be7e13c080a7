"""Epochs until a search's best is reached, with and without stopping early: `python -m benchmarks.early_stopping`.

The same trials, on the simulated data: all to their end, and with successive halving, which stops all but one in
`--reduction` at each rung. Best: the highest validation harmonic mean of the full search; a search has reached it where
it has a trial within half a point. One search a seed.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from benchmarks.record import keep
from benchmarks.search import METHOD, Silent
from platform import runtime
from platform.datasets.default import DEFAULT_SPLIT, default_dataset
from platform.search.execution import Resources
from platform.search.halving import Halving
from platform.search.progress import Row
from platform.search.search import Search, SearchOptions
from platform.tracking.record import Tracker
from platform.training.protocols import ProtocolOptions
from platform.training.trainable import read_outcomes
from platform.zeroshot.problem import ProblemOptions, load_problem

SPACE, POINT = Path("search_spaces/sadvae_small.yaml"), 0.005


class InOrder(Silent):
    """Keeps the last stage's trials in the order in which they ended."""

    def stage(self, name: str, done: int, total: int, fields: list[str]) -> None:
        if fields:
            self.rows: list[Row] = []

    def trial(self, row: Row) -> None:
        self.rows.append(row)


def searched(seed: int, trials: int, halving: Halving | None, folder: Path) -> list[tuple[int, float]]:
    """Each trial's epochs and validation harmonic mean, in the order in which they ended."""
    problem = ProblemOptions(dataset=default_dataset().resolve(), split=DEFAULT_SPLIT)
    load_problem(problem)
    options = SearchOptions(
        name="search", method=METHOD, problem=problem, protocol=ProtocolOptions(protocols=("clean",)), base={},
        trials=[3, trials], sampler="random", seed=seed, seeds=1, splits=[problem.split], pack=8, halving=halving,
        test_seeds=1, ensemble=1, cpus=1.0, gpus=0.0, device="cpu",
    )  # fmt: skip
    search = Search.create(folder / "search", options, SPACE.read_text())
    tracker, watch = Tracker(folder, "unseen"), InOrder()
    tracker.parent("search", "search", {}, {})
    search.run(tracker, watch, Resources(), 2)
    found = []
    for row in watch.rows:
        (outcome,) = read_outcomes(search.folder / "trials" / row.key)
        found.append((len(outcome.epochs), outcome.validation.get("harmonic_mean", 0.0)))
    return found


def until(trials: list[tuple[int, float]], goal: float) -> int | None:
    """Epochs trained when the goal was reached."""
    spent = 0
    for epochs, score in trials:
        spent += epochs
        if score >= goal - POINT:
            return spent
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=27)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--reduction", type=int, default=3)
    asked = parser.parse_args()
    runtime.connect()
    rows, shares = [], []
    for seed in range(asked.seeds):
        with tempfile.TemporaryDirectory() as scratch:
            full = searched(seed, asked.trials, None, Path(scratch) / "full")
            halved = searched(seed, asked.trials, Halving(reduction=asked.reduction), Path(scratch) / "halved")
        best = max(score for _, score in full)
        spent, reached = sum(e for e, _ in halved), until(halved, best)
        shares.append(spent / sum(e for e, _ in full))
        rows.append(
            [
                seed,
                f"{100 * best:.1f}",
                f"{100 * max(score for _, score in halved):.1f}",
                sum(e for e, _ in full),
                spent,
                until(full, best),
                "not" if reached is None else reached,
            ]
        )
    keep(
        "early_stopping",
        f"Epochs of a search of {asked.trials} trials, with and without successive halving",
        [
            "seed",
            "best H, full",
            "best H, halving",
            "epochs, full",
            "epochs, halving",
            "until best, full",
            "until best, halving",
        ],
        rows,
        [f"Halving trained {100 * statistics.mean(shares):.0f} % of the full search's epochs, in the mean."],
    )


if __name__ == "__main__":
    main()
