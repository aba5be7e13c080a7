"""CLASTER and its ablations over ten 50/50 splits, earlier numbers beside: `python -m benchmarks.claster_tables`.

Reads UNSEEN_DATA (default ../shared/data). UTD-MHAD: published Shift-GCN features, class names by MiniLM, 13 of 27
classes unseen. AwA1: bag-of-words histograms (PCA, 512), attributes, 25 of 50 classes unseen. One seed a row, as the
splits are what a paired test counts (the earlier table of UTD-MHAD had two).

The earlier tables' configurations came from searches on three, or two, of the splits and were not recorded. Here all
rows start from CLASTER's preset `small`, with as many clusters as the earlier purities tell of the search's choices (3,
6, 9, 15): 15 on UTD-MHAD, where 14 classes had clusters 90 % pure, and 3 on AwA1, where 25 classes had 12 %. On AwA1
features are standardised and `inference=softmax`, the best of five on half:0's pseudo-unseen classes.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.earlier import Earlier, earlier, table_beside, without_marks
from benchmarks.record import keep_text
from benchmarks.tested import awa1, options, scratch, tested, utd_mhad
from platform.datasets.text import ClassText
from platform.method import load_method
from platform.report.ablations import Planned, ablation, ablation_table, planned
from platform.report.comparison import ALL_SPLITS
from platform.report.formats import markdown
from platform.report.results import Result
from platform.report.verdicts import purity_table, significance_table
from platform.training.trainable import Experiment
from platform.zeroshot.problem import ProblemOptions

METHOD, TABLE = "methods.claster", "claster-1"
TITLES = {"utd": "UTD-MHAD", "awa1": "AwA1"}
FIELDS = {  # over the preset
    "utd": {"clusters": 15},
    "awa1": {"clusters": 3, "inference": "softmax", "normalise": "standard"},
}
SHOWN = ("ZSL", "H")


def problem(name: str, folder: Path, split: str) -> ProblemOptions:
    if name == "utd":
        return ProblemOptions(dataset=utd_mhad(folder), split=split, features="shiftgcn")
    text = ClassText(encoder="attributes")
    return ProblemOptions(dataset=awa1(folder), split=split, features="features", text=text)


def trained(one: Planned, splits: Sequence[str], seeds: int, folder: Path) -> list[Result]:
    """A row's tests, under the row's name."""
    experiment = Experiment(
        method=METHOD,
        problem=one.problem,
        configs=(dict(one.config),),
        seeds=tuple(range(seeds)),
        splits=tuple(splits),
        test=True,
    )
    return [replace(result, row=one.row.name) for result in tested(experiment, folder)]


def section(name: str, old: Earlier, splits: Sequence[str], seeds: int, folder: Path) -> list[str]:
    """All of one data set's tables, in Markdown."""
    plan = ablation(TABLE)
    base = {**load_method(METHOD).presets["small"], **FIELDS[name]}
    wanted = planned(plan, [problem(name, folder, splits[0])], {METHOD: base})
    results: list[Result] = []
    for number, one in enumerate(wanted):
        results += trained(one, splits, seeds, folder / f"claster-{name}-{number}")
    table = ablation_table(plan, wanted, results, splits, None, per_sample=False)
    wide = ALL_SPLITS if len(splits) > 1 else splits[0]
    columns = [place for place, (group, heading) in enumerate(table.columns) if group == wide and heading in SHOWN]
    alike = [t for t in old.tables if TITLES[name] in t.titles and t.heading[0] == "row"]
    beside = table_beside(table, alike[0] if alike else None, lambda row: (row[0], without_marks(row[2])), columns)
    clean = [result for result in results if result.protocol == "clean"]
    below = [significance_table(clean, "zsl", None, per_sample=False, protocol="clean"), purity_table(clean)]
    notes = "\n".join(f"- {note}" for note in table.notes)
    return [f"## {TITLES[name]}", f"before: {old.name}", beside, notes, *(markdown(t) for t in below if t is not None)]


def main() -> None:
    parser = options(__doc__, seeds=1)
    parser.add_argument("--splits", type=int, default=10, help="how many splits, half:0 and so on")
    parser.add_argument("--data", nargs="+", default=list(TITLES), choices=list(TITLES))
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    splits = [f"half:{number}" for number in range(asked.splits)]
    old, parts = earlier("claster-tables"), []
    with scratch(asked.scratch) as folder:
        for name in asked.data:
            parts += section(name, old, splits, asked.seeds, folder)
    about = __doc__.split("\n\n", 1)[1].strip()
    keep_text("claster-tables", "CLASTER and its ablations over random 50/50 splits", [about, *parts])


if __name__ == "__main__":
    main()
