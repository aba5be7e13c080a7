"""Tables of what the numbers allow one to say: paired tests between methods, and agreement with papers' rankings."""

import math
import re
import statistics
from collections.abc import Iterable, Sequence

from platform.errors import InputError
from platform.report.comparison import HEADINGS, Row, Table, by_seed_and_split, ranking_agreement, short
from platform.report.published import PublishedTable
from platform.report.results import Result
from platform.report.significance import comparisons


def significance_table(
    results: Sequence[Result], metric: str, against: str | None, per_sample: bool, protocol: str
) -> Table | None:
    """Every row of one protocol, single models, against `against` (or the best): mean difference and p.

    None where there is only one row. Raises InputError where `against` was not tested.
    """
    values = by_seed_and_split(results, metric, per_sample)
    methods = {label: re.split("[ ,]", label)[0] for label in values}
    if against is not None and short(against) not in methods.values():
        raise InputError(f"--against {against}: was not tested; there is {', '.join(sorted(set(methods.values())))}")
    if len(values) < 2:
        return None
    own = [label for label in values if against is None or methods[label] == short(against)]
    reference = max(own, key=lambda label: statistics.fmean(values[label].values()))
    headings = ("difference", "95 % interval", "pairs", "p", "p (Holm)")
    columns = tuple(("", heading) for heading in headings)
    rows = []
    for found in comparisons(values, reference):
        low, high = found.interval
        interval = found.why if math.isnan(low) else f"{low:+.1f} to {high:+.1f}"
        cells = (f"{found.mean_difference:+.1f}", interval, str(found.pairs), _p(found.p), _p(found.p_holm))
        rows.append(Row((found.names[0], protocol), cells))
    notes = (
        "percentage points on the same data, splits and seeds; two-sided paired t-test (CLASTER, Section 7), mean "
        "difference (Section 8), p also corrected for as many comparisons (Holm)",
        "seeds of one split share its classes, so p is smaller than it would be over as many splits",
    )
    title = f"{HEADINGS[metric]}: against {reference}, {protocol} protocol"
    return Table(f"significance-{protocol}", title, ("method", "protocol"), columns, tuple(rows), notes)


def agreement_table(
    results: Sequence[Result], tables: Iterable[PublishedTable], metric: str, per_sample: bool
) -> Table | None:
    """Whether papers rank the methods as we do, on whatever data they were measured; None without three in common."""
    found = [a for table in tables for a in ranking_agreement(results, table, metric, per_sample)]
    if not found:
        return None
    columns = tuple(("", name) for name in ("ours, best first", "the paper's", "Kendall's τ", "p"))
    rows = [
        Row(
            (a.reference, a.column, a.protocol),
            (" > ".join(a.ours), " > ".join(a.theirs), f"{a.tau:+.2f}", _p(a.p)),
        )
        for a in found
    ]
    note = "papers measured other data: a ranking that differs is no error; with so few methods p is seldom small"
    headings = ("table", "column", "our protocol")
    return Table("agreement", "Do the papers rank the methods alike?", headings, columns, tuple(rows), (note,))


def _p(value: float) -> str:
    if math.isnan(value):
        return "—"
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"
