"""UTD-MHAD and AwA1, five seeds, both protocols, the earlier numbers beside: `python -m benchmarks.real_data`.

Reads UNSEEN_DATA (default ../shared/data). UTD-MHAD: SA-DVAE, whose baseline is the released code on the same features
with the same values (z_r 128, z_v 8, batch 32, 20 epochs, learning rate 1e-3, D_T every 5 steps), five seeds; per
sample on the unseen classes' clips of the test subjects, at its last epoch and at its best epoch on those same clips.
The released columns choose the epoch on the unseen test classes themselves: they leak.

AwA1, official split, attributes: SA-DVAE and every other method that takes a plain attribute vector, with the values of
benchmarks.recording, chosen on no result. ESZSL and ridge regression have their penalties chosen on pseudo-unseen
classes.
"""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.closed_forms import GRIDS, tested_closed_form
from benchmarks.earlier import beside_earlier, earlier
from benchmarks.record import keep_text
from benchmarks.recording import METHODS, OTHERS
from benchmarks.tested import awa1, options, scratch, tested, utd_mhad
from methods.sadvae import method
from platform.datasets.text import ClassText
from platform.report.counts import measured_on
from platform.report.results import Result
from platform.training.trainable import Experiment
from platform.zeroshot.problem import ProblemOptions

RELEASED_CODE = {"ru5": (48.8, 67.2), "ru9": (26.8, 35.7), "ru13": (25.2, 31.2)}  # last epoch, best test epoch
VALUES = {"z_r": 128, "z_v": 8, "batch_size": 32, "epochs": 20, "learning_rate": 1e-3, "n_d": 5}
CHOICES = {"released code's": dict(method.presets["released"]), "paper's": {}}
ON_AWA = {name.rpartition(".")[2]: values for name, values in {**METHODS, **OTHERS}.items()}
ON_AWA["sadvae"] = {
    "learning_rate": 1e-3,
    "beta_x": 1e-3,
    "beta_y": 1e-3,
    "lambda_2": 1e-3,
}  # as it was measured before
SHOWN = {"zsl_per_sample": "ZSL per sample", "zsl": "ZSL", "harmonic_mean": "H"}
PROTOCOLS = ("clean", "released")


def results(
    problem: ProblemOptions, values: Mapping[str, Any], seeds: int, folder: Path, name: str = "sadvae"
) -> list[Result]:
    seeds_of_row = tuple(range(1, seeds + 1))
    if name in GRIDS:
        return tested_closed_form(name, problem, seeds_of_row, folder)
    experiment = Experiment(
        method=f"methods.{name}", problem=problem, configs=(dict(values),), seeds=seeds_of_row, test=True
    )
    return tested(experiment, folder)


def row(name: str, own: Sequence[Result]) -> list[str]:
    """A row's cells; chance is of ZSL, by the classes that were tested."""
    cells = [name, own[0].data.split, f"{100 / own[0].counts['unseen']:.1f}"]
    for protocol in PROTOCOLS:
        for metric in SHOWN:
            values = [100 * result.metrics[metric] for result in own if result.protocol == protocol]
            spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.1f}{spread}")
    return cells


def main() -> None:
    parser = options(__doc__, seeds=5)
    parser.add_argument("--splits", nargs="*", default=list(RELEASED_CODE), choices=list(RELEASED_CODE))
    parser.add_argument("--no-awa1", action="store_true", help="UTD-MHAD alone")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    several: list[tuple[str, list[Result]]] = []
    with scratch(asked.scratch) as folder:
        for split in asked.splits:
            problem = ProblemOptions(
                dataset=utd_mhad(folder), split=split, features="shiftgcn", unseen_test="partition"
            )  # the clips that the baseline was tested on
            for choices, extra in CHOICES.items():
                own = results(problem, {**VALUES, **extra}, asked.seeds, folder / f"{split}-{choices.split()[0]}")
                several.append((f"UTD-MHAD, {choices} choices", own))
        if not asked.no_awa1:
            text = ClassText(encoder="attributes")
            problem = ProblemOptions(dataset=awa1(folder), split="official", features="features", text=text)
            for name, values in ON_AWA.items():
                own = results(problem, values, asked.seeds, folder / f"awa1-{name}", name)
                several.append(("AwA1, attributes" if name == "sadvae" else f"AwA1, attributes, {name}", own))
    heading = ["data", "split", "chance", *(f"{p} {name}" for p in PROTOCOLS for name in SHOWN.values())]
    old = earlier("real_data")
    table = beside_earlier(
        heading, [row(*one) for one in several], old.tables[0] if old.tables else None, lambda r: tuple(r[:2]), labels=3
    )
    baseline = [
        f"- the released code, per sample, {split}: {last} at the last epoch, {best} at the best test epoch"
        for split, (last, best) in RELEASED_CODE.items()
        if split in asked.splits
    ]
    counts = dict.fromkeys(f"- {own[0].data.split}: {measured_on([own[0].counts])}" for _, own in several)
    about = [__doc__.split("\n\n", 1)[1].strip(), f"before: {old.name}; now n = {asked.seeds} (seeds)"]
    title = "Real data: accuracy, %, mean ± standard deviation over seeds"
    keep_text("real_data", title, [*about, table, "\n".join([*counts, *baseline])])


if __name__ == "__main__":
    main()
