import csv
import io
from xml.etree import ElementTree

import pytest
from rich.console import Console

from platform.report.comparison import Cell, Row, Table
from platform.report.formats import comma_separated, hypertext, latex, markdown, terminal


@pytest.fixture
def table():
    rows = (
        Row(("a_method [1]", "clean"), (Cell((40.0, 50.0), "clean"), Cell((10.0,), "clean"))),
        Row(("b & c", "clean"), (Cell((30.0,), "clean"), None)),
        Row(("a_method [1]", "released"), (Cell((60.0,), "released"), "p = 0.01")),
        Row(("paper | one", "released"), (Cell((70.0,), "released", published=True), None)),
    )
    return Table("name", "A <title>, 100 %", ("method", "protocol"), (("x", "ZSL"), ("x", "H")), rows, ("a note",))


def test_the_terminal_shows_means_and_marks(table):
    console = Console(width=120)
    with console.capture() as capture:
        console.print(*terminal(table, 120))
    shown = capture.get()
    for text in ("45.0 ± 7.1", "60.0†", "70.0†", "p = 0.01", "a_method [1]", "a note"):
        assert text in shown


def test_many_columns_are_shown_in_several_tables_whose_groups_stay_whole():
    columns = tuple((group, metric) for group in "abc" for metric in ("ZSL", "s", "u"))
    cells = (*[Cell((1.0,), "clean")] * 6, None, None, None)
    *shown, notes = terminal(Table("name", "title", ("method",), columns, (Row(("x",), cells),), ("note",)), 90)
    assert [[c.header for c in part.columns] for part in shown] == [
        ["method", "a\nZSL", "a\ns", "a\nu", "b\nZSL", "b\ns", "b\nu"],
        ["method", "c\nZSL", "c\ns", "c\nu"],
    ]
    assert [part.row_count for part in shown] == [1, 0]  # nothing was measured there
    assert notes.plain == "note"


def test_markdown_is_a_table_with_the_best_bold_and_the_papers_italic(table):
    lines = markdown(table).splitlines()
    assert lines[0] == "### A <title>, 100 %"
    assert lines[2:5] == [
        "| method | protocol | x ZSL | x H |",
        "| --- | --- | ---: | ---: |",
        "| a_method [1] | clean | **45.0 ± 7.1** | 10.0 |",
    ]
    assert "| paper \\| one | released | *70.0†* |  |" in lines
    assert lines[-1] == "- a note"


def test_latex_escapes_what_it_must_and_has_a_cell_a_column(table):
    text = latex(table)
    assert r"a\_method [1] & clean & \textbf{45.0 $\pm$ 7.1} & 10.0 \\" in text
    assert r"b \& c & clean & 30.0 &  \\" in text
    assert r"\textit{70.0$^\dagger$}" in text
    assert r"\caption{A <title>, 100 \%}" in text
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")]
    rows = [line.replace(r"\&", "") for line in body.splitlines() if line.endswith(r"\\")]
    assert {row.count("&") for row in rows} == {3}


def test_csv_has_a_line_a_cell(table):
    rows = list(csv.DictReader(io.StringIO(comma_separated(table))))
    assert len(rows) == 6
    assert rows[0] == {
        "method": "a_method [1]",
        "protocol": "clean",
        "column": "x",
        "metric": "ZSL",
        "mean": "45.0000",
        "standard_deviation": "7.0711",
        "values": "2",
        "cell_protocol": "clean",
        "published": "False",
        "extractor": "",
    }


def test_html_is_well_formed_and_escaped(table):
    shown = hypertext(table)
    figure = ElementTree.fromstring(shown)
    assert figure.find("h2").text == "A <title>, 100 %"
    body = figure.findall(".//tbody/tr")
    assert ["".join(cell.itertext()) for cell in body[0]] == ["a_method [1]", "clean", "45.0 ± 7.1", "10.0"]
    assert body[3].find(".//i").text == "70.0†"
