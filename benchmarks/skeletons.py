"""Skeleton methods and two closed forms on UTD-MHAD, with the earlier numbers beside: `python -m benchmarks.skeletons`.

Reads UNSEEN_DATA (default ../shared/data). Published Shift-GCN features on all splits at once; with --stgcn also ST-GCN
trained on each split's seen classes (preset `small`, 32 frames, bfloat16), which takes longer than all else. Accuracies
are means over samples, as the skeleton papers have them.

The earlier table's configurations came from searches and were not recorded. Here each method has one configuration on
every split and every set of features, chosen on no result: SA-DVAE the values of benchmarks.real_data; the others what
the space file for small data begins with, ranges at their middle (the geometric one where they are sampled so).
ESZSL and ridge regression, which cost nothing, have their penalties chosen on pseudo-unseen classes.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.closed_forms import GRIDS, tested_closed_form
from benchmarks.earlier import earlier, table_beside, without_marks
from benchmarks.record import keep_text
from benchmarks.tested import options, scratch, tested, utd_mhad
from platform.datasets.text import ClassText
from platform.features.extractors import find_extractor
from platform.features.training import Training
from platform.features.training import train as train_extractor
from platform.features.writing import Writing, write
from platform.report.ablations import ablation, ablation_table, planned
from platform.report.comparison import Table, comparison_table
from platform.report.formats import markdown
from platform.report.published import published_table
from platform.report.results import Result
from platform.report.verdicts import significance_table
from platform.training.trainable import Experiment
from platform.zeroshot.problem import ProblemOptions

SPLITS = ("ru5", "ru9", "ru13")
SHOWN = ("ZSL", "H")  # of the metrics, beside the earlier ones; the others stand in the table below
PARTS = ClassText(text="verb+noun", combine="concatenate")
CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "sadvae": {"learning_rate": 1e-3, "epochs": 20, "batch_size": 32, "n_d": 5, "z_r": 128, "z_v": 8},
    "synse": {  # synse_small.yaml, its second point
        "cycle": 100, "beta_start": 59, "beta_y_start": 82, "alpha_start": 82,
        "learning_rate": 3e-4, "reconstruction": "sum", "beta_rate": 3.6e-2, "noise": "dimension",
    },
    "cadavae": {"epochs": 40, "learning_rate": 3e-4, "beta": 0.1, "cross": 1.73, "distance": 3.0},
    "revise": {
        "epochs": 60, "batch_size": 64, "learning_rate": 1e-3, "discrepancy": 1.0, "kappa": 0.57, "reconstruction": 1.0,
    },
    "jpose": {
        "epochs": 60, "batch_size": 64, "learning_rate": 1e-3, "text_layers": 1,
        "margin": 0.325, "within": 0.032, "joint_weight": 1.0,
    },
    "smie": {"epochs": 60, "batch_size": 64, "learning_rate": 5e-4, "hidden_1": 512, "hidden_2": 256, "warm_up": 5},
}  # fmt: skip
EXTRACTOR = {"frames": 32, "precision": "bfloat16"}  # over ST-GCN's preset `small`

Same = Callable[[Sequence[str]], tuple[str, ...]]


def problem(data: Path, method: str, features: str, split: str) -> ProblemOptions:
    text = PARTS if method in ("synse", "jpose") else ClassText()
    return ProblemOptions(dataset=data, split=split, features=features, text=text)


def experiment(
    data: Path, method: str, features: str, config: Mapping[str, Any], seeds: int, splits: Sequence[str]
) -> Experiment:
    return Experiment(
        method=f"methods.{method}",
        problem=problem(data, method, features, splits[0]),
        configs=(dict(config),),
        seeds=tuple(range(seeds)),
        splits=tuple(splits),
        test=True,
    )


def measured(
    data: Path, method: str, features: str, seeds: int, splits: Sequence[str], folder: Path
) -> Sequence[Result]:
    """One method's tests."""
    if method in CONFIGS:
        return tested(experiment(data, method, features, CONFIGS[method], seeds, splits), folder)
    found = []
    for split in splits:
        found += tested_closed_form(method, problem(data, method, features, split), range(seeds), folder / split)
    return found


def with_stgcn(data: Path, split: str, folder: Path) -> Path:
    """A copy of the data folder with features of an ST-GCN that was trained on a split's seen classes."""
    out, run = folder / f"utd-{split}", folder / f"stgcn-{split}"
    if not out.exists():
        config = {**find_extractor("stgcn").presets["small"], **EXTRACTOR}
        training = Training(extractor="stgcn", config=config, dataset=data, split=split)
        run.mkdir(exist_ok=True)
        train_extractor(training, run)
        write(Writing(dataset=data, feature_set="stgcn", training=training, out=out), run)
    return out


def ablated(data: Path, folder: Path, seeds: int, splits: Sequence[str]) -> Table:
    """SA-DVAE's Table 6 at its configuration, beside the paper's."""
    plan, where = ablation("sadvae-6"), [problem(data, "sadvae", "shiftgcn", splits[0])]
    wanted = planned(plan, where, {"methods.sadvae": CONFIGS["sadvae"]})
    results: list[Result] = []
    for one in wanted:
        alignment = one.row.fields["alignment"]
        name = "shiftgcn" if alignment == "fd+tc" else alignment  # the former is trained already
        results += tested(experiment(data, "sadvae", "shiftgcn", one.config, seeds, splits), folder / f"sadvae-{name}")
    return ablation_table(plan, wanted, results, splits, published_table("sadvae-6"), per_sample=True)


def beside(table: Table, headings: Sequence[str], same: Same) -> list[str]:
    """Some of a table's columns beside the earlier ones, and the table as it stands."""
    old, labels = earlier("skeletons"), len(table.label_headings)
    alike = [t for t in old.tables if t.heading[:labels] == table.label_headings and t.heading[labels].endswith(" ZSL")]
    columns = [
        place for place, (group, heading) in enumerate(table.columns) if heading in headings and "/" not in group
    ]
    shown = table_beside(table, alike[0] if alike else None, same, columns)
    return [f"## {table.title}, beside the earlier numbers", f"before: {old.name}", shown, markdown(table)]


def verdict(results: Sequence[Result]) -> list[str]:
    clean = [result for result in results if result.protocol == "clean"]
    table = significance_table(clean, "zsl", "sadvae", per_sample=True, protocol="clean")
    return [] if table is None else [markdown(table)]


def main() -> None:
    parser = options(__doc__, seeds=5)
    parser.add_argument("--splits", nargs="+", default=list(SPLITS), choices=SPLITS)
    parser.add_argument("--methods", nargs="+", default=[*CONFIGS, *GRIDS], choices=[*CONFIGS, *GRIDS])
    parser.add_argument("--stgcn", action="store_true", help="also train ST-GCN on each split's seen classes")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    results: list[Result] = []
    with scratch(asked.scratch) as folder:
        data = utd_mhad(folder)
        for name in asked.methods:
            results += measured(data, name, "shiftgcn", asked.seeds, asked.splits, folder / f"{name}-shiftgcn")
        for split in asked.splits if asked.stgcn else ():
            own = with_stgcn(data, split, folder)
            for name in asked.methods:
                results += measured(own, name, "stgcn", asked.seeds, [split], folder / f"{name}-stgcn-{split}")
        table = comparison_table(results, per_sample=True)
        parts = [*beside(table, SHOWN, lambda row: (row[0], row[1], without_marks(row[3]))), *verdict(results)]
        if "sadvae" in asked.methods:
            rows = ablated(data, folder, asked.seeds, asked.splits)
            parts += beside(rows, ("ZSL",), lambda row: (row[0], without_marks(row[2])))
    keep_text("skeletons", "Skeleton methods on UTD-MHAD", [__doc__.split("\n\n", 1)[1].strip(), *parts])


if __name__ == "__main__":
    main()
