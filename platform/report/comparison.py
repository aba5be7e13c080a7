"""Tables of methods by data sets and splits: means and spreads over seeds and splits, each cell with its protocol."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from scipy.stats import kendalltau

from platform.report.published import PublishedRow, PublishedTable
from platform.report.results import Result
from platform.report.selection import MARK

HEADINGS = {"zsl": "ZSL", "seen": "s", "unseen": "u", "harmonic_mean": "H", "ausuc": "AUSUC"}
PUBLISHED_HEADINGS = {**HEADINGS, **{name: name for name in ("difference", "t", "count", "probability")}}
PROTOCOL_MARKS = {"clean": "", "released": "†", "unstated": "‡"}
LEGEND = {
    "released": "† released protocol: the epoch was chosen on the unseen test classes themselves; it leaks",
    "unstated": "‡ the paper does not say on what the epoch and the hyperparameters were chosen",
    "published": "italic: published by the paper named, under its own protocol",
}
ALL_SPLITS = "all splits"


@dataclass(frozen=True)
class Cell:
    """Values in percent: ours, one a seed and split; a published one alone, with its deviation where it is printed."""

    values: tuple[float, ...]
    protocol: str
    published: bool = False
    deviation: float | None = None

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def spread(self) -> float | None:
        """Standard deviation of the sample, or as published; None of a single value."""
        return statistics.stdev(self.values) if len(self.values) > 1 else self.deviation


def published_cell(row: PublishedRow, metric: str, table: PublishedTable) -> Cell:
    """A paper's number."""
    return Cell((row.values[metric],), table.protocol, published=True, deviation=row.spreads.get(metric))


@dataclass(frozen=True)
class Row:
    """A method under a protocol: what it is, and a cell a column: a text is no accuracy, None nothing."""

    label: tuple[str, ...]
    cells: tuple[Cell | str | None, ...]


@dataclass(frozen=True)
class Table:
    """A table to show: headings of the labels, columns of (group, metric), rows, and what stands below it."""

    name: str
    title: str
    label_headings: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = field(default=())

    def best(self) -> set[tuple[int, int]]:
        """Rows and columns of the largest mean in each column, of each protocol by itself; published ones do not count.

        Only where several rows of a protocol can be compared.
        """
        found = set()
        for column in range(len(self.columns)):
            for protocol in PROTOCOL_MARKS:
                own = [
                    (cell.mean, number)
                    for number, row in enumerate(self.rows)
                    if isinstance(cell := row.cells[column], Cell) and cell.protocol == protocol and not cell.published
                ]
                if len(own) > 1:
                    found |= {(number, column) for mean, number in own if mean == max(own)[0]}
        return found


def comparison_table(
    results: Sequence[Result],
    metrics: Sequence[str] = ("zsl", "seen", "unseen", "harmonic_mean"),
    per_sample: bool = False,
    published: Iterable[PublishedTable] = (),
) -> Table:
    """Methods (with features and class text) by data sets and splits, clean rows first.

    per_sample: accuracies over samples, as the skeleton papers have them, in place of means over classes. published:
    tables whose rows on the same data set and count of unseen classes stand below ours.
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
    shown = []
    for label, own in rows.items():
        at = [own.get(place, []) for place in places]
        if len(places) > 1:
            at.append([r for place in places for r in own.get(place, [])] if len(own) == len(places) else [])
        cells = [_cell(several, metric, per_sample) for several in at for metric in metrics]
        shown.append(Row(label, tuple(cells)))
    shown += _published_rows(results, places, groups, metrics, published, several_kinds)
    cells = [cell for row in shown for cell in row.cells if isinstance(cell, Cell)]
    notes = [LEGEND[p] for p in ("released", "unstated") if any(cell.protocol == p for cell in cells)]
    if any(cell.published for cell in cells):
        notes.append(LEGEND["published"])
    notes += selection_notes(results)
    notes.append(
        f"%, mean ± standard deviation over seeds{' and splits' if len(places) > 1 else ''}; accuracies are means over "
        + ("samples" if per_sample else "classes")
    )
    if any(r.data.simulated for r in results):
        notes.append("simulated data: numbers show that things work, not how well")
    headings = ("method", "features", "class text", *(("model",) if several_kinds else ()), "protocol")
    return Table("comparison", "Methods by data sets and splits", headings, columns, tuple(shown), tuple(notes))


def published_comparison(table: PublishedTable, methods: Iterable[str]) -> Table:
    """A paper's table as it stands, its rows of the methods compared (and of none of the platform's) left in."""
    methods = set(methods)
    rows = [row for row in table.rows if row.method is None or row.method in methods]
    groups = list(dict.fromkeys(f"{row.dataset} {row.split}" for row in rows))
    metrics = [m for m in PUBLISHED_HEADINGS if any(m in row.values for row in rows)]
    shown: dict[tuple[str, str, str], dict[tuple[str, str], Cell]] = {}
    for row in rows:
        own = shown.setdefault((row.name, row.variant, row.text), {})
        for metric in row.values:
            own[f"{row.dataset} {row.split}", metric] = published_cell(row, metric, table)
    columns = [(group, metric) for group in groups for metric in metrics]
    return Table(
        table.key,
        f"{table.reference}: {table.title}",
        ("method", "variant", "class text"),
        tuple((group, PUBLISHED_HEADINGS[metric]) for group, metric in columns),
        tuple(Row(label, tuple(own.get(c) for c in columns)) for label, own in shown.items()),
        tuple(filter(None, (LEGEND["published"], LEGEND[table.protocol], table.note))),
    )


@dataclass(frozen=True)
class Agreement:
    """How far a paper ranks the methods as we do: Kendall's τ, and its p. ranked: ours, best first."""

    reference: str
    column: str
    protocol: str
    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    tau: float
    p: float


def ranking_agreement(
    results: Sequence[Result], table: PublishedTable, metric: str = "zsl", per_sample: bool = False
) -> list[Agreement]:
    """For each column of a paper's table that has three or more of the methods: both rankings. Single models only.

    Our value is the mean over seeds and splits, of the features with which the method does best on average.
    """
    found = []
    for protocol in PROTOCOL_MARKS:
        ours = _means_by_method(
            [r for r in results if r.protocol == protocol and r.kind == "single"], metric, per_sample
        )
        for column in dict.fromkeys((row.dataset, row.split) for row in table.rows):
            theirs = {
                row.method: row.values[metric]
                for row in table.rows
                if (row.dataset, row.split) == column and row.method and not row.variant and metric in row.values
            }
            both = [method for method in ours if method in theirs]
            if len(both) < 3:
                continue
            tau = kendalltau([ours[m] for m in both], [theirs[m] for m in both])
            ranked = [
                tuple(short(m) for m in sorted(both, key=values.__getitem__, reverse=True)) for values in (ours, theirs)
            ]
            named = f"{' '.join(column)}, {HEADINGS[metric]}"
            found.append(Agreement(table.reference, named, protocol, *ranked, float(tau.statistic), float(tau.pvalue)))
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
    """What a row is called where there is one column for it: with its features and texts."""
    named = zip(row_names(results), results, strict=True)
    return [", ".join((name, r.data.features, r.data.text)) for name, r in named]


def row_names(results: Sequence[Result]) -> list[str]:
    """What each result's row is called: the method, and by which fields its configuration differs from its others.

    What searches chose, perhaps differently on each data set, is one row. An ablation's rows have their own names.
    `selection_notes` says what the mark of some means.
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
    """What is said below a table of rows that a search chose for several splits at once."""
    said = sorted({f"{r.data.name}: {r.selection}" for r in results if r.selection})
    return [f"{MARK} {text}; such an accuracy is not clean" for text in said]


def short(method: str) -> str:
    """The module's own name."""
    return method.rpartition(".")[2]


def _means_by_method(results: Sequence[Result], metric: str, per_sample: bool) -> dict[str, float]:
    values: dict[tuple[str, str], list[float]] = {}
    for r in results:
        values.setdefault((r.method, r.data.features), []).append(r.metrics[_metric(metric, per_sample)])
    found: dict[str, float] = {}
    for (method, _), own in values.items():
        found[method] = max(found.get(method, 0.0), statistics.fmean(own))
    return found


def _published_rows(
    results: Sequence[Result],
    places: Sequence[tuple[str, str]],
    groups: Sequence[str],
    metrics: Sequence[str],
    published: Iterable[PublishedTable],
    several_kinds: bool,
) -> list[Row]:
    """Papers' rows on a data set of ours with as many seen and unseen classes."""
    meant: Mapping[tuple[str, str], set[tuple[str, str]]] = {place: set() for place in places}
    for r in results:
        meant[r.data.name, r.data.split].add((_plain(r.data.class_list), r.data.classes))
    rows: dict[tuple[str, ...], dict[tuple[str, str], Cell]] = {}
    for table in published:
        for row in table.rows:
            for place, group in zip(places, groups, strict=False):
                if (_plain(row.dataset), row.split) in meant[place]:
                    kind = ("",) if several_kinds else ()
                    name = f"{row.name} ({row.variant})" if row.variant else row.name
                    label = (f"{name}: {table.reference}", row.features, row.text, *kind, table.protocol)
                    cells = {(group, m): published_cell(row, m, table) for m in metrics if m in row.values}
                    if cells:  # none of a row of counts, or of tests of significance
                        rows.setdefault(label, {}).update(cells)
    return [
        Row(label, tuple(cells.get((group, metric)) for group in groups for metric in metrics))
        for label, cells in rows.items()
    ]


def _cell(results: Sequence[Result], metric: str, per_sample: bool) -> Cell | None:
    name = _metric(metric, per_sample)
    values = tuple(100 * r.metrics[name] for r in results if name in r.metrics)
    return Cell(values, results[0].protocol) if values else None


def _metric(metric: str, per_sample: bool) -> str:
    return f"{metric}_per_sample" if per_sample and metric != "ausuc" else metric


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
