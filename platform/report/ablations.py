"""The papers' ablation tables as plans: which configurations a table compares, which were tested, which are missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from platform.configuration import nearest
from platform.datasets.folder import Dataset
from platform.errors import InputError
from platform.method import Method, load_method
from platform.report.comparison import (
    ALL_SPLITS,
    HEADINGS,
    LEGEND,
    Cell,
    HarmonicMean,
    Row,
    Table,
    averaged_as,
    marked,
    measured_cell,
    measured_notes,
    metric_notes,
    published_cell,
    result_notes,
)
from platform.report.data_identity import Data
from platform.report.published import PublishedTable
from platform.report.results import PROTOCOLS, Result
from platform.report.selection import MARK
from platform.setup import feature_tag, text_tag
from platform.zeroshot.problem import ProblemOptions

_PLANS = Path(__file__).with_name("ablations.json")


class AblationRow(BaseModel):
    """A row of a table: its name, and the fields by which it differs from the others."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    method: str
    fields: dict[str, Any] = Field(alias="set")


class Ablation(BaseModel):
    """A table of a paper. over: what its rows compare besides fields: feature sets or class texts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    table: str
    title: str = ""  # for a figure, which has no published table to name it
    metrics: tuple[str, ...]
    over: tuple[Literal["features", "text"], ...] = ()
    rows: tuple[AblationRow, ...]

    @property
    def few_shot(self) -> bool:
        """Whether its numbers are those of `platform.few_shot`, and no test's of `train`."""
        return any(metric.startswith("few_shot") for metric in self.metrics)


@dataclass(frozen=True)
class Planned:
    """A configuration that a table needs tested on some data. method: the row's; config: all fields."""

    row: AblationRow
    method: Method
    config: Mapping[str, Any]
    problem: ProblemOptions

    @property
    def label(self) -> tuple[str, str]:
        return self.row.name, f"{feature_tag(self.problem)}, {text_tag(self.problem)}"

    @cached_property
    def data(self) -> Data:
        """On the problem's own split."""
        return Data.of(self.problem, self.problem.split)

    @cached_property
    def _contents(self) -> tuple[str, str]:
        """`Data.content`, and what an older run recorded in its place: the checksum of the whole folder."""
        return self.data.content, f"folder {Dataset(self.problem.dataset).card.checksum}"

    def is_of(self, data: Data) -> bool:
        """Whether data are these, on any split."""
        own = replace(self.data, split=data.split, classes=data.classes, content=data.content)
        return data == own and data.content in self._contents


@cache
def ablations() -> dict[str, Ablation]:
    """By the table's name, as `sadvae-6`."""
    found = TypeAdapter(tuple[Ablation, ...]).validate_json(_PLANS.read_bytes())
    return {ablation.table: ablation for ablation in found}


def ablation(name: str) -> Ablation:
    """The ablation of that name. Raises InputError, naming those that exist."""
    if name not in ablations():
        raise InputError(f"--table {name}: no such ablation{nearest(name, ablations())}")
    return ablations()[name]


def planned(plan: Ablation, problems: Sequence[ProblemOptions], base: Mapping[str, Mapping[str, Any]]) -> list[Planned]:
    """The configurations that a table needs, row by row.

    problems: the data, one feature set and class text each; base: fields by method. Raises InputError where a row's
    fields do not fit its method, or several feature sets or class texts are given to a table that does not compare
    them.
    """
    given = {"features": {p.features for p in problems}, "text": {p.text for p in problems}}
    for what, named in (("features", "feature set"), ("text", "class text")):
        if len(given[what]) > 1 and what not in plan.over:
            compared = " and ".join(plan.over) or "configurations"
            raise InputError(f"--table {plan.table}: it compares {compared}; give one {named}")
    found = []
    for problem in problems:
        for row in plan.rows:
            method = load_method(row.method)
            config = method.configure({**base.get(row.method, {}), **row.fields})
            found.append(Planned(row, method, config.model_dump(), problem))
    return found


def tests_of(wanted: Planned, results: Sequence[Result]) -> list[Result]:
    """The tests of single models with exactly that configuration on exactly that data."""
    return [
        result
        for result in results
        if result.kind == "single"
        and result.method == wanted.row.method
        and wanted.is_of(result.data)
        and _config(wanted.method, result.config) == wanted.config
    ]


def missing(
    wanted: Planned, results: Sequence[Result], splits: Sequence[str], seeds: Sequence[int]
) -> dict[tuple[int, ...], list[str]]:
    """The untested seeds, each set of them with the splits on which it is missing."""
    found: dict[tuple[int, ...], list[str]] = {}
    tested = {(r.data.split, r.seed) for r in tests_of(wanted, results)}
    for split in splits:
        if wanting := tuple(seed for seed in seeds if (split, seed) not in tested):
            found.setdefault(wanting, []).append(split)
    return found


def ablation_table(
    plan: Ablation,
    wanted: Sequence[Planned],
    results: Sequence[Result],
    splits: Sequence[str],
    published: PublishedTable | None,
    per_sample: bool,
    averaged: HarmonicMean | None = None,
) -> Table:
    """Our rows, with each protocol's, and below them the paper's. A cell that was not tested is empty.

    averaged: which H stands for several tests; by default the paper's.
    """
    averaged = averaged or averaged_as([published] if published else [])
    groups = [*splits, *([ALL_SPLITS] if len(splits) > 1 else [])]
    ours = [(group, HEADINGS[metric]) for group in groups for metric in plan.metrics]
    theirs = [
        (row.place, HEADINGS[metric])
        for row in (published.rows if published else ())
        for metric in plan.metrics
        if metric in row.values
    ]
    theirs = list(dict.fromkeys(theirs))
    rows: list[Row] = []
    tested: list[Result] = []
    for protocol in PROTOCOLS:
        for one in wanted:
            own = [r for r in tests_of(one, results) if r.protocol == protocol and r.data.split in splits]
            cells: list[Cell | None] = []
            for group in groups:
                here = [r for r in own if group in (r.data.split, ALL_SPLITS)]
                whole = group != ALL_SPLITS or {r.data.split for r in own} == set(splits)
                cells += [measured_cell(here, m, per_sample, averaged) if whole else None for m in plan.metrics]
            if any(cells):
                name, data = one.label
                label = f"{name} {MARK}" if any(r.selection for r in own) else name
                tested += own
                rows.append(Row((label, data, marked(protocol, own)), (*cells, *[None] * len(theirs))))
    measured = measured_notes(tested, rows, ours, named=False)
    if published is not None:
        rows += _rows_of(published, plan, theirs, len(ours))
    notes = ["%, mean ± standard deviation over seeds and splits", LEGEND["released"], *result_notes(tested)]
    notes += [LEGEND[averaged]] if "harmonic_mean" in plan.metrics else []
    notes += [*metric_notes(plan.metrics), *measured]
    if published is not None:
        notes.append(f"{LEGEND['published']} ({published.reference})")
        notes += [LEGEND["unstated"]] if published.protocol == "unstated" else []
        notes += [published.note] if published.note else []
    title = f"{published.reference}: {published.title}" if published else plan.title
    return Table(plan.table, title, ("row", "data", "protocol"), (*ours, *theirs), tuple(rows), tuple(notes))


def _rows_of(published: PublishedTable, plan: Ablation, columns: Sequence[tuple[str, str]], before: int) -> list[Row]:
    rows: dict[tuple[str, str, str], dict[tuple[str, str], Cell]] = {}
    for row in published.rows:
        name = f"{row.name} ({row.variant})" if row.variant else row.name
        own = rows.setdefault((name, ", ".join(filter(None, (row.features, row.text))), published.protocol), {})
        for metric in plan.metrics:
            if metric in row.values:
                own[row.place, HEADINGS[metric]] = published_cell(row, metric, published)
    return [Row(label, (*[None] * before, *(own.get(c) for c in columns))) for label, own in rows.items() if own]


def _config(method: Method, values: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """All fields of a tested configuration; None where the method no longer accepts it."""
    try:
        return method.configure(values).model_dump()
    except InputError:
        return None
