"""Tables of methods by data sets and splits: means and spreads over seeds and splits, each cell with its protocol."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Literal

import torch
from scipy.stats import kendalltau

from platform.datasets import extractor_check
from platform.report.chance import chance_of
from platform.report.counts import behind_a_mean, measured_on
from platform.report.published import PublishedRow, PublishedTable
from platform.report.results import Result
from platform.report.selection import MARK
from platform.zeroshot.metrics import harmonic_mean

HarmonicMean = Literal["mean", "of-means"]  # over several tests: the mean of H, or H of the mean s and the mean u
HEADINGS = {
    "zsl": "ZSL",
    "zsl_top5": "ZSL top-5",
    "seen": "s",
    "unseen": "u",
    "unseen_top5": "u top-5",
    "harmonic_mean": "H",
    "ausuc": "AUSUC",
    "cider": "CIDEr",
    **{f"few_shot_{shots}": f"{shots} shots" for shots in (2, 4, 8, 16)},
}
PUBLISHED_HEADINGS = {**HEADINGS, **{name: name for name in ("difference", "t", "count", "probability")}}
PROTOCOL_MARKS = {"clean": "", "released": "†", "unstated": "‡"}
LEGEND = {
    "released": "† released protocol: the epoch was chosen on the unseen test classes themselves; it leaks",
    "unstated": "‡ the paper does not say on what the epoch and the hyperparameters were chosen",
    "published": "italic: published by the paper named, under its own protocol",
    "mean": "H: mean over the H of each seed and split",
    "of-means": "H: of the mean s and the mean u; ± is the deviation of the H of each seed and split",
    "top5": "top-5: the share of samples whose class is among the five likeliest",
    "few_shot": "K shots: among the unseen classes, after K training samples of each; n counts draws of the samples",
    "cider": "CIDEr: CIDEr-D of captions against references, times 100; ours on the test samples of unseen classes",
}
ALL_SPLITS = "all splits"
_MOST_PLACES = 6  # up to so many data sets and splits have a note each; beyond, each data set has one


@dataclass(frozen=True)
class Cell:
    """Values in percent: ours, one a seed and split; a published one alone, with its deviation where it is printed.

    of_means: H of the mean s and the mean u, to be shown in place of the values' mean; extractor: why the features are
    not clean (see `extractor_check`).
    """

    values: tuple[float, ...]
    protocol: str
    published: bool = False
    deviation: float | None = None
    of_means: float | None = None
    extractor: tuple[str, ...] = ()

    @property
    def marks(self) -> str:
        """The marks beside the number: of its protocol and of its features' extractor."""
        return PROTOCOL_MARKS[self.protocol] + extractor_check.marks(self.extractor)

    @property
    def compared_with(self) -> tuple[str, bool]:
        """The best of a column is found among cells of equal key."""
        return self.protocol, "unseen" in self.extractor

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values) if self.of_means is None else self.of_means

    @property
    def spread(self) -> float | None:
        """Standard deviation of the sample, or as published; None of a single value."""
        return statistics.stdev(self.values) if len(self.values) > 1 else self.deviation


def published_cell(row: PublishedRow, metric: str, table: PublishedTable) -> Cell:
    """A paper's number."""
    return Cell((row.values[metric],), table.protocol, published=True, deviation=row.spreads.get(metric))


@dataclass(frozen=True)
class Row:
    """A method under a protocol: its labels, and a cell for each column: an accuracy, other text, or None."""

    label: tuple[str, ...]
    cells: tuple[Cell | str | None, ...]


@dataclass(frozen=True)
class Table:
    """A table to show: headings of the labels, columns of (group, metric), rows, and notes."""

    name: str
    title: str
    label_headings: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = field(default=())

    def best(self) -> set[tuple[int, int]]:
        """Rows and columns of the largest mean in each column, of each protocol by itself; published ones do not count.

        Only where several rows of a protocol can be compared; those whose extractor saw unseen classes by themselves.
        """
        found = set()
        for column in range(len(self.columns)):
            compared: dict[tuple[str, bool], list[tuple[float, int]]] = {}
            for number, row in enumerate(self.rows):
                if isinstance(cell := row.cells[column], Cell) and not cell.published:
                    compared.setdefault(cell.compared_with, []).append((cell.mean, number))
            for own in compared.values():
                if len(own) > 1:
                    found |= {(number, column) for mean, number in own if mean == max(own)[0]}
        return found


def comparison_table(
    results: Sequence[Result],
    metrics: Sequence[str] = ("zsl", "seen", "unseen", "harmonic_mean"),
    per_sample: bool = False,
    published: Iterable[PublishedTable] = (),
    averaged: HarmonicMean | None = None,
) -> Table:
    """Methods (with features and class text) by data sets and splits, clean rows first.

    per_sample: accuracies over samples, as in the skeleton papers, in place of means over classes. published: tables
    whose rows on the same data set and number of unseen classes are shown below ours. averaged: how H is averaged over
    several tests; by default as in the papers that are shown.
    """
    places = sorted({(r.data.name, r.data.split) for r in results}, key=_natural)
    groups = [f"{name} {split}" for name, split in places]
    if len(places) > 1:
        groups.append(ALL_SPLITS)
    columns = tuple((group, HEADINGS[metric]) for group in groups for metric in metrics)
    several_kinds = len({r.kind for r in results}) > 1
    rows: dict[tuple[str, ...], dict[tuple[str, str], list[Result]]] = {}
    named = zip(row_names(results), results, strict=True)
    for name, result in sorted(named, key=lambda pair: (*_order(pair[1]), pair[0])):
        kind = (result.kind,) if several_kinds else ()
        label = (name, result.data.features, result.data.text, *kind, result.protocol)
        rows.setdefault(label, {}).setdefault((result.data.name, result.data.split), []).append(result)
    below, beside, left_out = _published_rows(results, places, groups, metrics, published, several_kinds, per_sample)
    averaged = averaged or averaged_as(beside)
    shown = []
    for label, own in rows.items():
        at = [own.get(place, []) for place in places]
        if len(places) > 1:
            at.append([r for place in places for r in own.get(place, [])] if len(own) == len(places) else [])
        cells = [measured_cell(several, metric, per_sample, averaged) for several in at for metric in metrics]
        tested = [r for several in own.values() for r in several]
        shown.append(Row((*label[:-1], marked(label[-1], tested)), tuple(cells)))
    measured = measured_notes(results, shown, columns)
    shown += below
    cells = [cell for row in shown for cell in row.cells if isinstance(cell, Cell)]
    notes = [LEGEND[p] for p in ("released", "unstated") if any(cell.protocol == p for cell in cells)]
    notes += result_notes(results)
    if any(cell.published for cell in cells):
        notes.append(LEGEND["published"])
    notes.append(
        f"%, mean ± standard deviation over seeds{' and splits' if len(places) > 1 else ''}; accuracies are means over "
        + ("samples" if per_sample else "classes")
    )
    notes += [LEGEND[averaged]] if "harmonic_mean" in metrics else []
    notes += [*measured, *left_out]
    if any(r.data.simulated for r in results):
        notes.append("simulated data: numbers show that things work, not how well")
    headings = ("method", "features", "class text", *(("model",) if several_kinds else ()), "protocol")
    return Table("comparison", "Methods by data sets and splits", headings, columns, tuple(shown), tuple(notes))


def marked(protocol: str, results: Iterable[Result]) -> str:
    """A protocol's name with the marks of what these results' extractors have seen, as `clean ¶`."""
    return f"{protocol} {extractor_check.marks(extractors_of(results))}".rstrip()


def metric_notes(metrics: Iterable[str]) -> list[str]:
    """What metrics mean that are no plain accuracies, where some are shown."""
    metrics = list(metrics)
    return [LEGEND[name] for name in ("top5", "few_shot", "cider") if any(name in metric for metric in metrics)]


def extractors_of(results: Iterable[Result]) -> tuple[str, ...]:
    """Why their features are not clean: all kinds of findings."""
    return tuple(dict.fromkeys(kind for r in results for kind in r.data.extractor))


def result_notes(results: Iterable[Result]) -> list[str]:
    """The notes that explain a table's marks."""
    results = list(results)
    return [*extractor_notes(results), *selection_notes(results)]


def extractor_notes(results: Iterable[Result]) -> list[str]:
    """The notes on extractors: a line for each mark, and the other data that they were trained on."""
    results = list(results)
    notes = extractor_check.legend(extractors_of(results))
    others: dict[str, list[str]] = {}
    for d in dict.fromkeys(r.data for r in results):
        if d.pretrained_on:
            others.setdefault(d.pretrained_on, []).append(f"{d.features} of {d.name}")
    return notes + [f"trained on {other}: {', '.join(dict.fromkeys(sets))}" for other, sets in others.items()]


def published_comparison(table: PublishedTable, methods: Iterable[str]) -> Table:
    """A paper's table, with the rows of the compared methods and of methods that the platform does not have."""
    methods = set(methods)
    rows = [row for row in table.rows if row.method is None or row.method in methods]
    groups = list(dict.fromkeys(row.place for row in rows))
    metrics = [m for m in PUBLISHED_HEADINGS if any(m in row.values for row in rows)]
    shown: dict[tuple[str, str, str], dict[tuple[str, str], Cell]] = {}
    for row in rows:
        own = shown.setdefault((row.name, row.variant, row.text), {})
        for metric in row.values:
            own[row.place, metric] = published_cell(row, metric, table)
    columns = [(group, metric) for group in groups for metric in metrics]
    return Table(
        table.key,
        f"{table.reference}: {table.title}",
        ("method", "variant", "class text"),
        tuple((group, PUBLISHED_HEADINGS[metric]) for group, metric in columns),
        tuple(Row(label, tuple(own.get(c) for c in columns)) for label, own in shown.items()),
        tuple(
            filter(
                None,
                (
                    LEGEND["published"],
                    LEGEND[table.protocol],
                    *_said_of(table, rows),
                    *metric_notes(metrics),
                    table.note,
                ),
            )
        ),
    )


def measured_cell(
    results: Sequence[Result], metric: str, per_sample: bool, averaged: HarmonicMean = "mean"
) -> Cell | None:
    """Several tests of one protocol as one cell; None where none has the metric."""
    name = _metric(metric, per_sample)
    tested = [r for r in results if name in r.metrics]
    if not tested:
        return None
    of_means = None
    if metric == "harmonic_mean" and averaged == "of-means":
        sides = [statistics.fmean(r.metrics[_metric(side, per_sample)] for r in tested) for side in ("seen", "unseen")]
        of_means = 100 * harmonic_mean(*torch.tensor(sides, dtype=torch.float64)).item()
    values = tuple(100 * r.metrics[name] for r in tested)
    return Cell(values, tested[0].protocol, of_means=of_means, extractor=extractors_of(results))


def averaged_as(beside: Iterable[PublishedTable]) -> HarmonicMean:
    """How the papers' tables that are shown average H over splits; the mean of H where none says."""
    return "of-means" if any(table.harmonic_mean == "of-means" for table in beside) else "mean"


def measured_notes(
    results: Sequence[Result], rows: Sequence[Row], columns: Sequence[tuple[str, str]], named: bool = True
) -> list[str]:
    """The notes below a table: classes, chance level, test samples, and the number of tests behind a mean.

    rows and columns: ours alone. named: whether a column's group is named by data set and split, or by split alone.
    """
    places: dict[str, dict[str, list[Result]]] = {}
    for r in sorted(results, key=lambda r: _natural((r.data.name, r.data.split))):
        places.setdefault(r.data.name, {}).setdefault(r.data.split, []).append(r)
    if sum(map(len, places.values())) > _MOST_PLACES:
        told = {f"{name}, each of {len(own)} splits": list(own.items()) for name, own in places.items()}
    else:
        told = {f"{name} {split}": [(split, own)] for name, o in places.items() for split, own in o.items()}
    counts = _counts_of_cells(rows, columns)
    notes = []
    for said, several in told.items():
        own = [r for _, tests in several for r in tests]
        groups = {f"{own[0].data.name} {split}" if named else split for split, _ in several}
        tests = [number for group in groups for number in counts.get(group, ())]
        parts = [measured_on([r.counts for r in own]), behind_a_mean(tests) if tests else ""]
        notes.append(f"{said}: {'; '.join(filter(None, parts))}")
    if together := counts.get(ALL_SPLITS):
        notes.append(f"{ALL_SPLITS}: {behind_a_mean(together, splits=sum(map(len, places.values())))}")
    return notes


def _counts_of_cells(rows: Sequence[Row], columns: Sequence[tuple[str, str]]) -> dict[str, list[int]]:
    """The number of tests of each row, group by group."""
    found: dict[str, list[int]] = {}
    for group in dict.fromkeys(group for group, _ in columns):
        for row in rows:
            of_group = [cell for (own, _), cell in zip(columns, row.cells, strict=False) if own == group]
            numbers = [len(cell.values) for cell in of_group if isinstance(cell, Cell)]
            if numbers:
                found.setdefault(group, []).append(max(numbers))
    return found


def _said_of(table: PublishedTable, rows: Sequence[PublishedRow]) -> list[str]:
    """Chance levels of a paper's columns, and how it averages H over splits."""
    splits = {row.split: row.split.rpartition("/")[2] for row in rows if "zsl" in row.values}
    chances = [f"{split} {chance_of(int(unseen))}" for split, unseen in splits.items() if unseen.isdigit()]
    notes = [f"ZSL among the unseen classes: {'; '.join(chances)}"] if chances else []
    if any("harmonic_mean" in row.values for row in rows) and table.harmonic_mean is not None:
        known = {
            "of-means": "H over splits: of the mean s and the mean u",
            "unstated": "H over splits: the paper does not say which",
        }
        notes.append(known[table.harmonic_mean])
    return notes


@dataclass(frozen=True)
class Agreement:
    """Agreement of a paper's ranking with ours on a data set: Kendall's τ and its p. ours, theirs: best first."""

    reference: str
    column: str
    data: str
    protocol: str
    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    tau: float
    p: float


def ranking_agreement(
    results: Sequence[Result], table: PublishedTable, metric: str = "zsl", per_sample: bool = False
) -> list[Agreement]:
    """For each column of a paper's table that has three or more of the methods: both rankings. Single models only.

    Of each of our data sets by itself, over the splits on which all of these methods were tested: our value is a mean
    over seeds and splits, of the row (configuration, features and class text) with which the method does best.
    """
    found = []
    single = [r for r in results if r.kind == "single"]
    for protocol, name in product(PROTOCOL_MARKS, dict.fromkeys(r.data.name for r in single)):
        own = [r for r in single if (r.protocol, r.data.name) == (protocol, name)]
        for column in dict.fromkeys((row.dataset, row.split) for row in table.rows):
            theirs = {
                row.method: row.values[metric]
                for row in table.rows
                if (row.dataset, row.split) == column and row.method and not row.variant and metric in row.values
            }
            ours = _means_by_method([r for r in own if r.method in theirs], metric, per_sample, averaged_as([table]))
            if len(ours) < 3:
                continue
            both = list(ours)
            tau = kendalltau([ours[m] for m in both], [theirs[m] for m in both])
            ranked = [
                tuple(short(m) for m in sorted(both, key=values.__getitem__, reverse=True)) for values in (ours, theirs)
            ]
            named = f"{' '.join(column)}, {HEADINGS[metric]}"
            found.append(
                Agreement(table.reference, named, name, protocol, *ranked, float(tau.statistic), float(tau.pvalue))
            )
    return found


def by_seed_and_split(
    results: Sequence[Result], metric: str, per_sample: bool = False
) -> dict[str, dict[tuple[str, str, int], float]]:
    """Each row's values by data set, split and seed, in percent: what paired tests compare."""
    found: dict[str, dict[tuple[str, str, int], float]] = {}
    for label, r in zip(row_labels(results), results, strict=True):
        place = (r.data.name, r.data.split, r.seed)
        found.setdefault(label, {})[place] = 100 * r.metrics[_metric(metric, per_sample)]
    return found


def row_labels(results: Sequence[Result]) -> list[str]:
    """A row's name with its features and class text, for tables with a single column for it."""
    named = zip(row_names(results), results, strict=True)
    return [", ".join((name, r.data.features, r.data.text)) for name, r in named]


def row_names(results: Sequence[Result]) -> list[str]:
    """The name of each result's row: the method, and the fields in which its configurations differ.

    Configurations that searches chose share a row, though they may differ between data sets. An ablation's rows have
    their own names. `selection_notes` explains the mark.
    """
    given: dict[str, list[Mapping[str, object]]] = {}
    for r in results:
        configs = given.setdefault(r.method, [])
        if not r.searched and r.config not in configs:
            configs.append(r.config)
    searched = {r.method for r in results if r.searched}
    names = []
    for r in results:
        mark = f" {MARK}" if r.selection else ""
        if r.row:
            names.append(r.row + mark)
            continue
        configs = given[r.method]
        differing = sorted(
            n for n in {n for c in configs for n in c} if any(c.get(n) != configs[0].get(n) for c in configs)
        )
        said = ", ".join(f"{name}={r.config[name]}" for name in differing if name in r.config)
        if r.method in searched and configs:
            said = "searched" if r.searched else said or "not searched"
        elif r.searched:
            said = ""
        names.append((f"{short(r.method)} ({said})" if said else short(r.method)) + mark)
    return names


def selection_notes(results: Iterable[Result]) -> list[str]:
    """The notes on rows whose configuration a search chose on several splits."""
    said = sorted({f"{r.data.name}: {r.selection}" for r in results if r.selection})
    return [f"{MARK} {text}; such an accuracy is not clean" for text in said]


def short(method: str) -> str:
    """The last part of the module's name."""
    return method.rpartition(".")[2]


def _means_by_method(
    results: Sequence[Result], metric: str, per_sample: bool, averaged: HarmonicMean
) -> dict[str, float]:
    """The mean of each method's best row, over the splits that all methods were tested on."""
    splits = [{r.data.split for r in results if r.method == method} for method in {r.method for r in results}]
    common = set.intersection(*splits) if splits else set()
    several: dict[tuple[str, str], list[Result]] = {}
    for label, r in zip(row_labels(results), results, strict=True):
        if r.data.split in common:
            several.setdefault((r.method, label), []).append(r)
    found: dict[str, float] = {}
    for (method, _), own in several.items():
        whole = {r.data.split for r in own} == common
        if whole and (cell := measured_cell(own, metric, per_sample, averaged)) is not None:
            found[method] = max(found.get(method, 0.0), cell.mean)
    return found


def _published_rows(
    results: Sequence[Result],
    places: Sequence[tuple[str, str]],
    groups: Sequence[str],
    metrics: Sequence[str],
    published: Iterable[PublishedTable],
    several_kinds: bool,
    per_sample: bool,
) -> tuple[list[Row], list[PublishedTable], list[str]]:
    """Papers' rows on the same splits of the same data sets, their tables, and a note on those that are left out.

    A mean over splits stands in the column of all splits, where ours are all among the paper's.
    """
    meant: Mapping[tuple[str, str], set[tuple[str, str]]] = {place: set() for place in places}
    for r in results:
        meant[r.data.name, r.data.split].add((_plain(r.data.class_list), r.data.classes))
    rows: dict[tuple[str, ...], dict[tuple[str, str], Cell]] = {}
    beside: dict[str, PublishedTable] = {}
    otherwise = False
    for table in published:
        for row in table.rows:
            own = (_plain(row.dataset), row.split)
            at = zip(places, groups, strict=False)
            alike = [group for place, group in at if own in meant[place] and table.is_on(place[1])]
            if table.averaged:
                alike = [ALL_SPLITS] if len(places) == len(alike) > 1 else []
            for group in alike:
                kind = ("",) if several_kinds else ()
                name = f"{row.name} ({row.variant})" if row.variant else row.name
                label = (f"{name}: {table.reference}", row.features, row.text, *kind, table.protocol)
                cells = {(group, m): published_cell(row, m, table) for m in metrics if m in row.values}
                if cells and not table.averages_over(per_sample):
                    otherwise = True
                elif cells:  # empty for rows of counts, or of tests of significance
                    rows.setdefault(label, {}).update(cells)
                    if "harmonic_mean" in row.values:
                        beside[table.key] = table
    shown = [
        Row(label, tuple(cells.get((group, metric)) for group in groups for metric in metrics))
        for label, cells in rows.items()
    ]
    mended = "without --per-sample they are shown" if per_sample else "--per-sample shows them beside ours of that kind"
    kinds = ("means over classes", "over samples")[:: -1 if per_sample else 1]
    notes = [f"papers' accuracies {kinds[1]} are left out beside {kinds[0]}: {mended}"] if otherwise else []
    return shown, list(beside.values()), notes


def _metric(metric: str, per_sample: bool) -> str:
    return f"{metric}_per_sample" if per_sample and metric not in ("ausuc", "cider") else metric


def _plain(name: str) -> str:
    """`NTU-60` and `ntu60` alike."""
    return "".join(c for c in name.lower() if c.isalnum())


def _natural(place: tuple[str, str]) -> tuple:
    """ru5 before ru13."""
    name, split = place
    digits = "".join(c for c in split if c.isdigit())
    return name, split.rstrip("0123456789"), int(digits) if digits else 0, split


def _order(result: Result) -> tuple[int, bool, str]:
    return list(PROTOCOL_MARKS).index(result.protocol), result.kind != "single", result.kind
