import csv
import json
import sys

import pytest

from platform.datasets.readers.class_files import class_names, description_sets, parts_of_speech
from platform.errors import InputError


@pytest.mark.parametrize(
    "text",
    ["idx,label\n1,bow\n2,clap\n3,drop\n", "index,name\n2,drop\n0,bow\n1,clap\n", "name\nbow\nclap\ndrop\n"],
    ids=["from one", "from zero, shuffled", "without index"],
)
def test_a_csv_gives_names_in_label_order(tmp_path, text):
    (tmp_path / "classes.csv").write_text(text)
    assert class_names(tmp_path / "classes.csv", None) == ["bow", "clap", "drop"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("index,name\n1,bow\n3,drop\n", "must count the classes from 0 or from 1"),
        ("index,name\n5,bow\n6,drop\n", "must count the classes from 0 or from 1"),
        ("index,name\nx,bow\n", "no whole number"),
        ("index,colour\n0,red\n", "columns index, colour; one of name, label, class"),
        ("name\n", "no rows"),
    ],
)
def test_a_csv_that_cannot_be_understood_is_refused(tmp_path, text, message):
    (tmp_path / "classes.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        class_names(tmp_path / "classes.csv", None)


def test_a_class_list_gives_names_and_checks_a_file_of_names(tmp_path):
    assert class_names(None, "pku51")[:2] == ["bow", "brushing hair"]
    (tmp_path / "names.txt").write_text("bow\nclap\n")
    with pytest.raises(InputError, match=r"names\.txt: 2 classes, but the class list `ntu60` has 60"):
        class_names(tmp_path / "names.txt", "ntu60")
    with pytest.raises(InputError, match="`ntu61` is not built in; choose one of ntu60"):
        class_names(None, "ntu61")


def test_definitions_are_found_by_word(tmp_path):
    records = [{"word": "clap", "defn": "strike hands"}, {"word": "bow", "defn": "bend"}]
    (tmp_path / "words.json").write_text(json.dumps(records))
    sets = description_sets("er", tmp_path / "words.json", ["bow", "clap"])
    assert sets == {"er": [["bend"], ["strike hands"]]}
    with pytest.raises(InputError, match="no definition of class `jump`"):
        description_sets("er", tmp_path / "words.json", ["bow", "jump"])


@pytest.mark.parametrize("text", ["{", '{"bow": "bend"}', '[{"word": "bow"}]'])
def test_json_of_another_shape_is_refused(tmp_path, text):
    (tmp_path / "words.json").write_text(text)
    with pytest.raises(InputError, match=r"expected a JSON list of \{word, defn\}"):
        description_sets("er", tmp_path / "words.json", ["bow"])


def test_descriptions_are_one_a_class(tmp_path):
    (tmp_path / "llm.txt").write_text("bend\nstrike hands\n")
    assert description_sets("llm", tmp_path / "llm.txt", ["bow", "clap"]) == {"llm": [["bend"], ["strike hands"]]}
    with pytest.raises(InputError, match=r"llm\.txt: 2 descriptions for 3 classes"):
        description_sets("llm", tmp_path / "llm.txt", ["bow", "clap", "drop"])


def test_a_list_for_ntu_120_serves_its_first_sixty_classes(tmp_path):
    (tmp_path / "llm.txt").write_text("\n".join(f"text {i}" for i in range(120)))
    texts = description_sets("llm", tmp_path / "llm.txt", class_names(None, "ntu60"), "ntu60")["llm"]
    assert (len(texts), texts[-1]) == (60, ["text 59"])
    with pytest.raises(InputError, match="120 descriptions for 51 classes"):
        description_sets("llm", tmp_path / "llm.txt", class_names(None, "pku51"), "pku51")


PARTS = [["Action Labels", "Head", "Global Desc"], ["bowing", "tilts", "bends over"], ["Clap", "stays", "claps"]]


def write_table(path, rows):
    """A .csv, or an .xlsx whose sheets are given by name."""
    if path.suffix == ".csv":
        with path.open("w", newline="") as file:
            csv.writer(file).writerows(rows)
        return path
    openpyxl = pytest.importorskip("openpyxl")
    workbook = openpyxl.Workbook()
    workbook.remove(workbook.active)
    for name, lines in rows.items():
        sheet = workbook.create_sheet(name)
        for line in lines:
            sheet.append(line)
    workbook.save(path)
    return path


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_a_column_a_body_part_is_a_set_of_its_own_and_all_of_them_one(tmp_path, kind):
    rows = PARTS if kind == "csv" else {"Other": [*PARTS, ["x", "y", "z"]], "Mine": PARTS}
    sets = description_sets("purls", write_table(tmp_path / f"parts.{kind}", rows), ["bow", "clap"])
    assert sets == {
        "purls": [["tilts", "bends over"], ["stays", "claps"]],
        "purls.head": [["tilts"], ["stays"]],
        "purls.global-desc": [["bends over"], ["claps"]],
    }


def test_a_sheet_is_chosen_by_name(tmp_path):
    path = write_table(tmp_path / "parts.xlsx", {"A": PARTS, "B": [PARTS[0], PARTS[2], PARTS[1]], "C": [*PARTS, ["x"]]})
    assert description_sets("p", path.with_name("parts.xlsx#B"), ["clap", "bow"])["p.head"] == [["stays"], ["tilts"]]
    with pytest.raises(InputError, match=r"choose a sheet, as in parts\.xlsx#SHEET; it has A \(2 rows\), B \(2 rows\)"):
        description_sets("p", path, ["bow", "clap"])
    with pytest.raises(InputError, match="no sheet `D`"):
        description_sets("p", path.with_name("parts.xlsx#D"), ["bow", "clap"])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([PARTS[0], ["bow", "", "bends"], PARTS[2]], r"parts\.csv: column `Head` is empty for class `bow`"),
        ([["name", "a", "a"], *PARTS[1:]], "two columns are called `a`"),
        ([["name", "a b", "a-b"], *PARTS[1:]], "two of its columns a b, a-b have the same name"),
        (PARTS[:2], "1 descriptions for 2 classes"),
        ([["", ""], *PARTS[1:]], "its first row is empty"),
    ],
)
def test_a_table_of_descriptions_that_cannot_be_is_refused(tmp_path, rows, message):
    with pytest.raises(InputError, match=message):
        description_sets("p", write_table(tmp_path / "parts.csv", rows), ["bow", "clap"])


def test_a_workbook_that_is_none_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "parts.xlsx").write_bytes(b"PK\x03\x04 no workbook")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(InputError, match="needs openpyxl; install the extra `text`"):
        description_sets("p", tmp_path / "parts.xlsx", ["bow"])
    monkeypatch.undo()
    pytest.importorskip("openpyxl")
    with pytest.raises(InputError, match=r"parts\.xlsx: truncated, or no \.xlsx workbook"):
        description_sets("p", tmp_path / "parts.xlsx", ["bow"])
    with pytest.raises(InputError, match=r"llm\.csv#A: only an \.xlsx workbook has sheets"):
        description_sets("p", tmp_path / "llm.csv#A", ["bow"])


def test_verbs_and_nouns_of_a_file(tmp_path):
    path = write_table(tmp_path / "parts.csv", [["index", "verb", "Noun"], [2, "clap", "hands"], [1, "bow", ""]])
    assert parts_of_speech(path, ["bow", "clap"]) == [("bow", None), ("clap", "hands")]
    for rows, message in (
        ([["name", "verb"], ["bow", "bow"]], "`verb` and `noun` are expected"),
        ([["verb", "noun"], ["bow", ""]], "1 rows for 2 classes"),
        ([["verb", "noun"], ["bow", ""], ["", "hands"]], "no verb for class `clap`; only a noun may be left empty"),
    ):
        with pytest.raises(InputError, match=message):
            parts_of_speech(write_table(tmp_path / "parts.csv", rows), ["bow", "clap"])


def test_a_file_that_is_missing_or_no_text_is_named(tmp_path):
    with pytest.raises(InputError, match=r"gone\.txt: cannot be read"):
        class_names(tmp_path / "gone.txt", None)
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(InputError, match=r"latin\.txt: no UTF-8 text"):
        class_names(tmp_path / "latin.txt", None)
