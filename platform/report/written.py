"""A comparison on disk: the page, and each table as Markdown, LaTeX and CSV. Written whole or not at all."""

import datetime
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from platform.files import writing
from platform.report.comparison import Table
from platform.report.formats import comma_separated, hypertext, latex, markdown
from platform.report.page import page
from platform.report.results import Result


def write_report(
    folder: Path,
    title: str,
    tables: Sequence[Table],
    results: Sequence[Result],
    figures: Mapping[str, str],
    citations: Mapping[str, str],
) -> list[Path]:
    """Write `folder`, which must not exist; returns its files. figures: SVG by caption; citations: BibTeX by method."""
    runs = sorted({result.run for result in results})
    facts = [f"{len(results)} tests of {len(runs)} runs: {', '.join(runs)}"] if runs else []
    facts.append(f"made {datetime.datetime.now():%Y-%m-%d %H:%M}")
    partial = folder.with_name(f".{folder.name}")
    with writing(folder.parent):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        shown = page(f"Unseen: {title}", facts, [hypertext(table) for table in tables], figures, citations)
        (partial / "page.html").write_text(shown)
        for table in tables:
            for ending, written in (("md", markdown), ("tex", latex), ("csv", comma_separated)):
                (partial / f"{table.name}.{ending}").write_text(written(table))
        for number, svg in enumerate(figures.values()):
            (partial / f"figure-{number}.svg").write_text(svg)
        partial.rename(folder)
    return sorted(folder.iterdir())
