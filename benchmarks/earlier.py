"""The tables of an earlier result file, to stand beside new ones: what changed is then seen, and by how much."""

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from benchmarks.record import RESULTS, markdown_table
from platform.report.comparison import PROTOCOL_MARKS, Cell, Table

_ROOT = RESULTS.parents[1]


@dataclass(frozen=True)
class EarlierTable:
    """A Markdown table as it stood: the headings above it, its own, and its rows, without marks of the best."""

    titles: tuple[str, ...]
    heading: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Earlier:
    """An earlier result file. name: as `skeletons-2026-11-21.md`."""

    name: str
    tables: tuple[EarlierTable, ...]


def earlier(name: str) -> Earlier:
    """The newest of another day: in results/, or as it was before it was removed; no tables where there is none."""
    today = f"{name}-{date.today()}.md"
    here = sorted(path for path in RESULTS.glob(f"{name}-[0-9]*.md") if path.name != today)
    if here:
        return Earlier(here[-1].name, tables_of(here[-1].read_text()))
    pattern = f"{RESULTS.relative_to(_ROOT)}/{name}-[0-9]*.md"
    removed = sorted(set(_git("log", "--format=", "--name-only", "--diff-filter=D", "--", pattern)))
    for path in reversed([path for path in removed if Path(path).name != today]):
        (commit,) = _git("log", "-1", "--format=%H", "--diff-filter=D", "--", path)
        return Earlier(Path(path).name, tables_of("\n".join(_git("show", f"{commit}^:{path}"))))
    return Earlier("none", ())


def tables_of(text: str) -> tuple[EarlierTable, ...]:
    """All tables of a Markdown file."""
    titles: dict[int, str] = {}
    found: list[EarlierTable] = []
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("#"):
            level = len(line) - len(line.lstrip("#"))
            titles = {own: title for own, title in titles.items() if own < level} | {level: line.lstrip("# ")}
        if line.startswith("|") and not lines[number - 1].startswith("|"):
            rows = []
            for row in lines[number:]:
                if not row.startswith("|"):
                    break
                rows.append(tuple(cell.strip().replace("*", "") for cell in row.strip().strip("|").split("|")))
            found.append(EarlierTable(tuple(titles.values()), rows[0], tuple(rows[2:])))
    return tuple(found)


def beside_earlier(
    heading: Sequence[str],
    rows: Sequence[Sequence[str]],
    old: EarlierTable | None,
    same: Callable[[Sequence[str]], tuple[str, ...]],
    labels: int,
) -> str:
    """A Markdown table in which each column of numbers is followed by the earlier one.

    same: of a row's cells, what a row of today and an earlier one agree in; labels: how many columns name a row. Rows
    that were not measured again keep their earlier numbers alone.
    """
    numbers = heading[labels:]
    before: dict[tuple[str, ...], dict[str, str]] = {}
    for row in old.rows if old else ():
        own = dict(zip(old.heading, row, strict=True))
        if any(own.get(name) for name in numbers):  # none of a paper's rows, which may have the name of one of ours
            before.setdefault(same(row), own)
    shown = []
    for row in rows:
        own = before.pop(same(row), {})
        pairs = [(value, own.get(name, "")) for name, value in zip(numbers, row[labels:], strict=True)]
        shown.append([*row[:labels], *(cell for pair in pairs for cell in pair)])
    for row in before.values():
        named, own = ([row.get(name, "") for name in names] for names in (heading[:labels], numbers))
        shown.append([*named, *(cell for value in own for cell in ("", value))])
    doubled = [cell for name in numbers for cell in (name, "before")]
    return markdown_table([*heading[:labels], *doubled], shown)


def table_beside(
    table: Table, old: EarlierTable | None, same: Callable[[Sequence[str]], tuple[str, ...]], columns: Sequence[int]
) -> str:
    """The same of a comparison's table. columns: places of those to show."""
    labels = len(table.label_headings)
    heading = [*table.label_headings, *(" ".join(table.columns[place]) for place in columns)]
    rows = [[*row.label, *(_text(row.cells[place]) for place in columns)] for row in table.rows]
    return beside_earlier(heading, [row for row in rows if any(row[labels:])], old, same, labels)


def without_marks(protocol: str) -> str:
    """`clean` of `clean ¶`: earlier tables had no marks of what an extractor was trained on."""
    return protocol.partition(" ")[0]


def _text(cell: Cell | str | None) -> str:
    if not isinstance(cell, Cell):
        return cell or ""
    spread = "" if cell.spread is None else f" ± {cell.spread:.1f}"
    return f"{cell.mean:.1f}{spread}{PROTOCOL_MARKS[cell.protocol]}"


def _git(*arguments: str) -> list[str]:
    """The lines that git prints; none where there is no git or no repository."""
    try:
        done = subprocess.run(["git", "-C", str(_ROOT), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return done.stdout.splitlines()
