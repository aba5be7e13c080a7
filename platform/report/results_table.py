"""The table of test results: single models and ensembles, under each protocol."""

import statistics
from collections.abc import Iterable, Mapping, Sequence

from rich.table import Table

from platform.datasets.extractor_check import legend, marks
from platform.report.counts import Counts, measured_on
from platform.training.trainable import Outcome

Tests = Mapping[
    str, Mapping[str, Mapping[str, Sequence[float]]]
]  # kind of model to protocol to metric to a value for each seed and split
_LEAKS = "released: the papers' code chooses the epoch on the unseen test classes themselves; it leaks"


def results_table(
    tests: Tests,
    counts: Iterable[Counts],
    extractor: Sequence[str] = (),
) -> Table:
    """Test metrics of single models and of ensembles under each protocol, mean and standard deviation, in percent.

    counts: of the outcomes that were tested; the classes, their chance level and the samples stand below the table.
    extractor: why the features are not clean (see `extractor_check`), which marks every protocol.
    """
    columns = {
        "zsl": "ZSL",
        "zsl_per_sample": "ZSL per sample",
        "seen": "s",
        "unseen": "u",
        "harmonic_mean": "H",
        "ausuc": "AUSUC",
        "zsl_top5": "ZSL top-5",
        "unseen_top5": "u top-5",
        "cider": "CIDEr",
    }
    tested = [metrics for protocols in tests.values() for metrics in protocols.values()]
    columns = {name: heading for name, heading in columns.items() if any(name in metrics for metrics in tested)}
    table = Table(title="test, %, mean ± standard deviation over seeds and splits", title_justify="left")
    table.add_column("protocol")
    table.add_column("model")
    for heading in columns.values():
        table.add_column(heading, justify="right")
    notes = [*([said] if (said := measured_on(counts)) else []), *legend(extractor)]
    for protocol in dict.fromkeys(protocol for kind in tests.values() for protocol in kind):
        for kind, protocols in tests.items():
            shown = [[100 * value for value in protocols[protocol].get(name, ())] for name in columns]
            cells = [_cell(values) for values in shown]
            table.add_row(f"{protocol} {marks(extractor)}".rstrip(), kind, *cells)
            if protocol == "released" and _LEAKS not in notes:
                notes.append(_LEAKS)
    table.caption, table.caption_justify = "\n".join(notes) or None, "left"
    return table


def _cell(values: Sequence[float]) -> str:
    if not values:
        return ""  # an ensemble describes nothing
    return f"{statistics.mean(values):.1f}" + (f" ± {statistics.stdev(values):.1f}" if values[1:] else "")


def by_kind(outcomes: Sequence[Outcome]) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Kind of model (single or an ensemble) to protocol to metric to one value for each seed and split."""
    tests: dict[str, dict[str, dict[str, list[float]]]] = {}
    for outcome in outcomes:
        kind = tests.setdefault(outcome.kind, {})
        for protocol, metrics in outcome.test.items():
            for metric, value in metrics.items():
                kind.setdefault(protocol, {}).setdefault(metric, []).append(value)
    return tests
