"""The papers' result tables as printed, in percent, to be shown beside ours.

The skeleton papers' are under the released protocol: their code chooses the epoch on the unseen test classes, and
accuracies are over samples, not means over classes. Where a paper has no code and does not say how anything was chosen,
the protocol is `unstated`. Where a paper quotes another method, the number is as quoted.
"""

from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

from platform.configuration import nearest
from platform.errors import InputError

# difference and t are of pairs of methods; count (of samples), probability (of a class) and cider (of captions) are not
# accuracies; few_shot_K: accuracy after K samples of each unseen class
Metric = Literal[
    "zsl", "zsl_top5", "seen", "unseen", "unseen_top5", "harmonic_mean", "difference", "t", "count", "probability",
    "cider", "few_shot_2", "few_shot_4", "few_shot_8", "few_shot_16",
]  # fmt: skip

_TABLES = Path(__file__).with_name("published.json")
# the class splits that a setting's numbers are of, by the names that data folders give them
_SPLITS = {
    "SynSE's splits": ("55_5", "48_12", "110_10", "96_24"),
    "random splits, mean over three": ("sadvae-random-*",),
    "50/50 splits, 10 runs (Xu et al.)": ("half:*", "split_*"),
    "TruZe": ("truze",),
    "Proposed Split (Xian et al., 2019)": ("proposed",),
}


class PublishedRow(BaseModel):
    """A row's numbers on one data set and split, in percent.

    method: the platform's module, None where it has none; variant: what was changed of the method, empty for the
    method as its paper has it; split: counts of seen and unseen classes, as in 55/5, empty for captions alone; features
    and text: empty where the source does not say; spreads: standard deviations over runs, where they are printed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str | None
    name: str
    variant: str
    dataset: str
    split: str
    features: str
    text: str
    values: dict[Metric, float]
    spreads: dict[Metric, float] = {}

    @property
    def place(self) -> str:
        """Data set and split, as in `NTU-60 55/5`."""
        return f"{self.dataset} {self.split}".rstrip()


class PublishedTable(BaseModel):
    """A table of a paper.

    key: as in `sadvae-6`; citation: BibTeX key; setting: whose splits; averaged: its numbers are means over splits;
    harmonic_mean: then, whether H is that of the mean s and the mean u (`of-means`) or the paper does not say; note:
    omissions and misprints; page: None where it is not known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    paper: str
    citation: str
    table: str
    page: int | None
    title: str
    setting: str
    protocol: Literal["released", "unstated"]
    metric_kind: Literal["per_sample", "per_class", "unstated"]
    averaged: bool
    harmonic_mean: Literal["of-means", "unstated"] | None = None  # None: no H, or H of a single split
    note: str
    rows: tuple[PublishedRow, ...]

    @property
    def ablation(self) -> bool:
        """Whether it compares variants of a method or two, and not methods."""
        return any(row.variant for row in self.rows) and len({row.method or row.name for row in self.rows}) < 3

    def is_on(self, split: str) -> bool:
        """Whether its numbers are of this class split, or are means over several among which it is."""
        return any(fnmatchcase(split, known) for known in _SPLITS.get(self.setting, ()))

    def averages_over(self, per_sample: bool) -> bool:
        """Whether its accuracies are over samples, or means over classes, as asked; so where the paper does not say."""
        return self.metric_kind in ("unstated", "per_sample" if per_sample else "per_class")

    @property
    def reference(self) -> str:
        """As in `SA-DVAE, Table 6, p. 12`."""
        table = f"Table {self.table}" if self.table else ""
        page = f"p. {self.page}" if self.page is not None else ""
        return ", ".join(filter(None, (self.paper, table, page)))


@cache
def published_tables() -> tuple[PublishedTable, ...]:
    """All of them, paper by paper."""
    return TypeAdapter(tuple[PublishedTable, ...]).validate_json(_TABLES.read_bytes())


def find_published(name: str) -> PublishedTable | None:
    """The table of that key, or None."""
    return next((table for table in published_tables() if table.key == name), None)


def published_table(name: str) -> PublishedTable:
    """The table of that key, as `sadvae-6` or `sadvae-B`. Raises InputError, naming those that exist."""
    table = find_published(name)
    if table is None:
        raise InputError(f"{name}: no such published table{nearest(name, [t.key for t in published_tables()])}")
    return table


def published_values(method: str, dataset: str, split: str) -> list[tuple[PublishedTable, PublishedRow]]:
    """The tables' rows of a method's module on a data set (`NTU-60`) and split (`55/5`), with its variants."""
    wanted = (method, dataset, split)
    return [(t, row) for t in published_tables() for row in t.rows if (row.method, row.dataset, row.split) == wanted]
