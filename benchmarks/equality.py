"""Whether a pack's results are distributed as single runs' are: `python -m benchmarks.equality`.

Twenty seeds of one configuration, side by side in one pack and each alone, validated and tested on the simulated data.
"""

import statistics
import tempfile
from pathlib import Path

import torch
from scipy.stats import ks_2samp

from benchmarks.record import keep
from platform.datasets.default import DEFAULT_SPLIT, default_dataset
from platform.training.trainable import Experiment, Outcome, train
from platform.zeroshot.problem import ProblemOptions, load_problem

SEEDS = tuple(range(20))
VALUES = {"learning_rate": 1e-3, "epochs": 5}


def trained(problem: ProblemOptions, seeds: tuple[int, ...], folder: Path) -> list[Outcome]:
    experiment = Experiment(
        method="methods.sadvae", problem=problem, configs=(VALUES,), seeds=seeds, test=True, device="cpu"
    )
    return train(experiment, folder)


def main() -> None:
    torch.set_num_threads(1)
    problem = ProblemOptions(dataset=default_dataset().resolve(), split=DEFAULT_SPLIT)
    load_problem(problem)
    with tempfile.TemporaryDirectory() as scratch:
        pack = trained(problem, SEEDS, Path(scratch) / "pack")
        alone = [trained(problem, (seed,), Path(scratch) / str(seed))[0] for seed in SEEDS]
    rows = []
    for stage, metric, scale in (
        ("validation", "zsl", 100),
        ("test", "zsl", 100),
        ("test", "reconstruction", 1),
        ("test", "kl_x", 1),
    ):
        epochs = "epochs" if stage == "validation" else "test_epochs"
        packed, single = ([scale * getattr(o, epochs)[-1][metric] for o in some] for some in (pack, alone))
        largest = max(abs(a - b) for a, b in zip(packed, single, strict=True))
        cells = [f"{statistics.mean(v):.3f} ± {statistics.stdev(v):.3f}" for v in (packed, single)]
        rows.append([f"{stage}, {metric}", *cells, f"{largest:.1e}", f"{ks_2samp(packed, single).pvalue:.2f}"])
    keep(
        "equality",
        "Twenty seeds in one pack and alone",
        ["", "in one pack", "alone", "largest difference of a seed", "p that they differ in distribution"],
        rows,
        ["At the last epoch: accuracies in %, losses as they are. One thread."],
    )


if __name__ == "__main__":
    main()
