"""A table for a terminal, as Markdown, LaTeX, CSV or HTML."""

import csv
import html
import io
from collections.abc import Callable
from itertools import groupby

from rich.markup import escape
from rich.table import Table as RichTable
from rich.text import Text

from platform.report.comparison import Cell, Table

_LABELS_WIDTH = 48  # of the labels before the numbers, in a terminal
_ESCAPED = {"\\": r"\textbackslash{}", **{c: rf"\{c}" for c in "&%$#_{}"}, "~": r"\textasciitilde{}", "^": r"\^{}"}
_IN_MATH = {
    "†": r"$^\dagger$",
    "‡": r"$^\ddagger$",
    "§": r"$^\S$",
    "¶": r"$^\P$",
    "‖": r"$^\|$",
    "±": r"$\pm$",
    "τ": r"$\tau$",
    "−": "$-$",
}


def terminal(table: Table, width: int) -> list[RichTable | Text]:
    """For Rich's console of a width in characters: several tables where one is too wide, and the notes below."""
    lines = _lines(table, lambda text, bold, italic: _marked(escape(text), "[bold]", "[/]", bold))
    texts = [_text(cell) for row in table.rows for cell in row.cells if cell]
    widest = max(map(len, [*texts, *(group for group, _ in table.columns if len(group) < width // 4)]), default=0)
    most = max(1, (width - _LABELS_WIDTH) // (widest + 3))
    groups = [list(own) for _, own in groupby(range(len(table.columns)), lambda place: table.columns[place][0])]
    parts: list[list[int]] = [[]]
    for group in groups:
        if parts[-1] and len(parts[-1]) + len(group) > most:
            parts.append([])
        parts[-1] += group
    tables = []
    for part in parts:
        shown = RichTable(title=table.title if part is parts[0] else None, title_justify="left")
        for heading in table.label_headings:
            shown.add_column(heading)
        for group, heading in (table.columns[place] for place in part):
            shown.add_column(f"{group}\n{heading}" if group else heading, justify="right", no_wrap=widest < width // 4)
        for label, cells in lines:
            if any(cells[place] for place in part):
                shown.add_row(*map(escape, label), *(cells[place] for place in part))
        tables.append(shown)
    # not a caption, which is as narrow as its table
    return [*tables, Text("\n".join(table.notes), style="dim italic")]


def markdown(table: Table) -> str:
    """A GitHub table below its title, with the notes as a list."""
    headings = [*table.label_headings, *(f"{group} {heading}".strip() for group, heading in table.columns)]
    lines = [f"### {table.title}", "", _piped(headings)]
    lines.append(_piped([*("---" for _ in table.label_headings), *("---:" for _ in table.columns)]))
    for label, cells in _lines(table, _in_markdown):
        lines.append(_piped([*(text.replace("|", "\\|") for text in label), *cells]))
    return "\n".join([*lines, "", *(f"- {note}" for note in table.notes)]) + "\n"


def latex(table: Table) -> str:
    """A `table` with booktabs rules, to be put into a paper."""
    labels = len(table.label_headings)
    groups = [(name, len(list(own))) for name, own in groupby(group for group, _ in table.columns)]
    first = " & ".join(["", *[""] * (labels - 1), *(rf"\multicolumn{{{n}}}{{c}}{{{_tex(g)}}}" for g, n in groups)])
    second = " & ".join(_tex(h) for h in [*table.label_headings, *(heading for _, heading in table.columns)])
    lines = [r"% needs \usepackage{booktabs}", r"\begin{table}", r"\centering", rf"\caption{{{_tex(table.title)}}}"]
    lines += [rf"\label{{tab:{table.name}}}", rf"\begin{{tabular}}{{{'l' * labels}{'r' * len(table.columns)}}}"]
    lines += [r"\toprule", rf"{first} \\"]
    start = labels + 1
    for _, count in groups:
        lines.append(rf"\cmidrule(lr){{{start}-{start + count - 1}}}")
        start += count
    lines += [rf"{second} \\", r"\midrule"]
    for label, cells in _lines(table, _in_latex):
        lines.append(" & ".join([*map(_tex, label), *cells]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}", *(rf"\par\footnotesize {_tex(note)}" for note in table.notes)]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def comma_separated(table: Table) -> str:
    """A line a cell: labels, group, metric, mean, standard deviation, count of values, protocol, whether published.

    The last column says why the features are not clean, as `extractor_check` names it.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = ("column", "metric", "mean", "standard_deviation", "values", "cell_protocol", "published", "extractor")
    writer.writerow([*table.label_headings, *columns])
    for row in table.rows:
        for (group, heading), cell in zip(table.columns, row.cells, strict=True):
            if isinstance(cell, str):
                writer.writerow([*row.label, group, heading, cell, "", "", "", "", ""])
            elif cell is not None:
                spread = "" if cell.spread is None else f"{cell.spread:.4f}"
                numbers = [
                    f"{cell.mean:.4f}",
                    spread,
                    len(cell.values),
                    cell.protocol,
                    cell.published,
                    "+".join(cell.extractor),
                ]
                writer.writerow([*row.label, group, heading, *numbers])
    return text.getvalue()


def hypertext(table: Table) -> str:
    """A `<figure>` with a `<table>`, to stand in a page."""
    groups = [(name, len(list(own))) for name, own in groupby(group for group, _ in table.columns)]
    labels = len(table.label_headings)
    head = f'<tr><td colspan="{labels}"></td>' + "".join(
        f'<th colspan="{count}" class="group">{html.escape(name)}</th>' for name, count in groups
    )
    head += "</tr><tr>" + "".join(f'<th class="label">{html.escape(h)}</th>' for h in table.label_headings)
    head += "".join(f"<th>{html.escape(heading)}</th>" for _, heading in table.columns) + "</tr>"
    body = ""
    for label, cells in _lines(table, _in_html):
        body += "<tr>" + "".join(f'<td class="label">{html.escape(text)}</td>' for text in label)
        body += "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>\n"
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in table.notes)
    return (
        f'<figure id="{html.escape(table.name)}"><h2>{html.escape(table.title)}</h2>\n<div class="wide"><table>'
        f"<thead>{head}</thead>\n<tbody>{body}</tbody></table></div><ul>{notes}</ul></figure>"
    )


def _lines(table: Table, shown: Callable[[str, bool, bool], str]) -> list[tuple[tuple[str, ...], list[str]]]:
    """Each row's labels and cells. shown: a cell's text, whether it is the best, whether it is published."""
    best, lines = table.best(), []
    for number, row in enumerate(table.rows):
        cells = []
        for column, cell in enumerate(row.cells):
            published = isinstance(cell, Cell) and cell.published
            cells.append(shown(_text(cell), (number, column) in best, published) if cell else "")
        lines.append((row.label, cells))
    return lines


def _text(cell: Cell | str) -> str:
    if isinstance(cell, str):
        return cell
    spread = "" if cell.spread is None else f" ± {cell.spread:.1f}"
    return f"{cell.mean:.1f}{spread}{cell.marks}"


def _marked(text: str, before: str, after: str, when: bool) -> str:
    return f"{before}{text}{after}" if when else text


def _in_markdown(text: str, bold: bool, italic: bool) -> str:
    return _marked(_marked(text, "**", "**", bold), "*", "*", italic)


def _in_latex(text: str, bold: bool, italic: bool) -> str:
    return _marked(_marked(_tex(text), r"\textbf{", "}", bold), r"\textit{", "}", italic)


def _in_html(text: str, bold: bool, italic: bool) -> str:
    return _marked(_marked(html.escape(text), "<b>", "</b>", bold), "<i>", "</i>", italic)


def _piped(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _tex(text: str) -> str:
    return "".join({**_ESCAPED, **_IN_MATH}.get(character, character) for character in text)
