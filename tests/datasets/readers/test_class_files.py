import json

import pytest

from platform.datasets.readers.class_files import class_names, descriptions
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
    assert descriptions(tmp_path / "words.json", ["bow", "clap"]) == ["bend", "strike hands"]
    with pytest.raises(InputError, match="no definition of class `jump`"):
        descriptions(tmp_path / "words.json", ["bow", "jump"])


@pytest.mark.parametrize("text", ["{", '{"bow": "bend"}', '[{"word": "bow"}]'])
def test_json_of_another_shape_is_refused(tmp_path, text):
    (tmp_path / "words.json").write_text(text)
    with pytest.raises(InputError, match=r"expected a JSON list of \{word, defn\}"):
        descriptions(tmp_path / "words.json", ["bow"])


def test_descriptions_are_one_a_class(tmp_path):
    (tmp_path / "llm.txt").write_text("bend\nstrike hands\n")
    assert descriptions(tmp_path / "llm.txt", ["bow", "clap"]) == ["bend", "strike hands"]
    with pytest.raises(InputError, match=r"llm\.txt: 2 descriptions for 3 classes"):
        descriptions(tmp_path / "llm.txt", ["bow", "clap", "drop"])


def test_a_file_that_is_missing_or_no_text_is_named(tmp_path):
    with pytest.raises(InputError, match=r"gone\.txt: cannot be read"):
        class_names(tmp_path / "gone.txt", None)
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(InputError, match=r"latin\.txt: no UTF-8 text"):
        class_names(tmp_path / "latin.txt", None)
