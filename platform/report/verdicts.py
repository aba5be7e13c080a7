"""Tables of significance tests between methods, cluster purity, steps, and agreement with papers' rankings."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from platform.report.comparison import (
    HEADINGS,
    Cell,
    Row,
    Table,
    by_seed_and_split,
    extractors_of,
    marked,
    ranking_agreement,
    result_notes,
    row_labels,
    row_names,
    short,
)
from platform.report.published import PublishedTable
from platform.report.results import Result
from platform.report.significance import comparisons

_PURITIES = {"purity": "cluster", "class_purity": "class"}
_STEPS = "average_steps"
_ENOUGH_SPLITS = 5  # with so many splits or more, a split's seeds are averaged before pairing


def significance_table(
    results: Sequence[Result], metric: str, against: str | None, per_sample: bool, protocol: str
) -> Table | None:
    """Every row of one protocol, single models, against `against` (or the best): mean difference and p.

    against: a method, or an ablation's row. None where there is only one row, or `against` is none of this protocol.
    """
    values = by_seed_and_split(results, metric, per_sample)
    splits = {place[:2] for own in values.values() for place in own}
    if len(splits) >= _ENOUGH_SPLITS:
        values = {label: _mean_by_split(own) for label, own in values.items()}
    labelled = zip(row_labels(results), results, strict=True)
    own = dict.fromkeys(label for label, r in labelled if against is None or against in names_of(r))  # in their order
    if len(values) < 2 or not own:
        return None
    if against is None:  # the best of those that share tests with most others
        common = {label: sum(bool(values[label].keys() & other.keys()) for other in values.values()) for label in own}
        own = dict.fromkeys(label for label in own if common[label] == max(common.values()))
    reference = max(own, key=lambda label: statistics.fmean(values[label].values()))
    headings = ("difference", "95 % interval", "pairs", "p", "p (Holm)")
    columns = tuple(("", heading) for heading in headings)
    rows = []
    for found in comparisons(values, reference):
        low, high = found.interval
        interval = found.why if math.isnan(low) else f"{low:+.1f} to {high:+.1f}"
        difference = "—" if math.isnan(found.mean_difference) else f"{found.mean_difference:+.1f}"
        cells = (difference, interval, str(found.pairs), _p(found.p), _p(found.p_holm))
        tested = [r for label, r in zip(row_labels(results), results, strict=True) if label in found.names]
        rows.append(Row((found.names[0], marked(protocol, tested)), cells))
    notes = (
        "percentage points on the same data, splits and seeds; two-sided paired t-test (CLASTER, Section 7), mean "
        "difference (Section 8), p also corrected for as many comparisons (Holm)",
        "each split is one pair: the mean over its seeds"
        if len(splits) >= _ENOUGH_SPLITS
        else "seeds of one split share its classes, so p is smaller than it would be over as many splits",
        *result_notes(results),
    )
    title = f"{HEADINGS[metric]}: against {reference}, {protocol} protocol"
    return Table(f"significance-{protocol}", title, ("method", "protocol"), columns, tuple(rows), notes)


def names_of(result: Result) -> tuple[str, ...]:
    """The names by which a user may refer to its row."""
    return tuple(name for name in (result.row, short(result.method), result.method) if name)


def purity_table(results: Sequence[Result]) -> Table | None:
    """How pure the methods' own clusters are on the training samples, before and after; None without clusters."""
    rows: dict[tuple[str, str], list[Result]] = {}
    for name, r in zip(row_names(results), results, strict=True):
        if all(f"{kind}_{when}" in r.metrics for kind in _PURITIES for when in ("before", "after")):
            rows.setdefault((name, r.protocol), []).append(r)
    if not rows:
        return None
    columns = [(kind, when) for kind in _PURITIES.values() for when in ("before", "after")]
    shown = []
    for label, own in sorted(rows.items()):
        cells = [
            Cell(tuple(100 * r.metrics[f"{kind}_{when}"] for r in own), label[1], extractor=extractors_of(own))
            for kind in _PURITIES
            for when in ("before", "after")
        ]
        shown.append(Row((label[0], marked(label[1], own)), tuple(cells)))
    notes = (
        "%, of the training samples, mean ± standard deviation over seeds and splits; before: the first centroids, "
        "after: the trained ones, both with the trained networks",
        "cluster: samples in their cluster's largest class (CLASTER, Eq. 7); class: samples in their class's largest "
        "cluster (its Fig. 5; the paper's 0.77 and 0.89 must be these)",
        *result_notes(r for own in rows.values() for r in own),
    )
    return Table("purity", "Purity of the clusters", ("method", "protocol"), tuple(columns), tuple(shown), notes)


def steps_table(results: Sequence[Result]) -> Table | None:
    """After how many looks the methods that look step by step stop; None without such methods."""
    rows: dict[tuple[str, str], list[Result]] = {}
    for name, r in zip(row_names(results), results, strict=True):
        if _STEPS in r.metrics:
            rows.setdefault((name, r.protocol), []).append(r)
    if not rows:
        return None
    shown = [
        Row(
            (label[0], marked(label[1], own)),
            (f"{min(values):.1f}", f"{statistics.fmean(values):.1f}", f"{max(values):.1f}"),
        )
        for label, own in sorted(rows.items())
        if (values := [r.metrics[_STEPS] for r in own])
    ]
    columns = tuple(("", heading) for heading in ("least", "mean", "most"))
    notes = (
        "mean over the test samples of unseen classes, recognised among these (ERPCNet, Fig. 4); over seeds and splits",
        *result_notes(r for own in rows.values() for r in own),
    )
    return Table("steps", "Looks until the stop", ("method", "protocol"), columns, tuple(shown), notes)


def agreement_table(
    results: Sequence[Result], tables: Iterable[PublishedTable], metric: str, per_sample: bool
) -> Table | None:
    """Whether papers rank the methods as we do on each data set; None with fewer than three in common."""
    found = [a for table in tables for a in ranking_agreement(results, table, metric, per_sample)]
    if not found:
        return None
    columns = tuple(("", name) for name in ("ours, best first", "the paper's", "Kendall's τ", "p"))
    rows = [
        Row(
            (a.reference, a.column, a.data, marked(a.protocol, (r for r in results if r.protocol == a.protocol))),
            (" > ".join(a.ours), " > ".join(a.theirs), f"{a.tau:+.2f}", _p(a.p)),
        )
        for a in found
    ]
    note = (
        "papers measured other data: a ranking that differs is no error; with so few methods p is seldom small. Ours: "
        "the best configuration of each method, over the splits that all were tested on"
    )
    notes = (note, *result_notes(results))
    headings = ("table", "column", "our data set", "our protocol")
    return Table("agreement", "Do the papers rank the methods alike?", headings, columns, tuple(rows), notes)


def _mean_by_split(values: Mapping[tuple[str, str, int], float]) -> dict[tuple[str, str], float]:
    """values: by data set, split and seed."""
    found: dict[tuple[str, str], list[float]] = {}
    for (name, split, _), value in values.items():
        found.setdefault((name, split), []).append(value)
    return {place: statistics.fmean(own) for place, own in found.items()}


def _p(value: float) -> str:
    if math.isnan(value):
        return "—"
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"
