"""Files of reference captions."""

import json

import pytest

from platform.datasets.references import read_references
from platform.errors import InputError

IDS = ["run/1.mp4", "run/2.mp4", "jump/1.mp4"]


def written(folder, text, name="told.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_table_and_json_say_the_same(tmp_path):
    table = 'sample,caption\nrun/1.mp4,a man runs\njump/1.mp4,"she jumps, high"\n\nrun/1.mp4, he runs \n'
    told = {"run/1.mp4": ["a man runs", "he runs"], "jump/1.mp4": ["she jumps, high"]}
    expected = [["a man runs", "he runs"], [], ["she jumps, high"]]
    assert read_references(written(tmp_path, table), IDS) == expected
    assert read_references(written(tmp_path, json.dumps(told), "told.json"), IDS) == expected


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "told.csv",
            "sample,caption\nrun/9.mp4,a man\nrun/8.mp4,a man\n",
            "no sample `run/9.mp4` .*, and 1 more; samp",
        ),
        ("told.csv", "clip,text\nrun/1.mp4,a man\n", "begins with `clip,text`; expected a CSV table"),
        ("told.csv", "", "begins with ``; expected a CSV table"),
        ("told.csv", "sample,caption\n", "has no caption"),
        ("told.csv", "sample,caption\nrun/1.mp4,a man, running\n", "line 2: 3 columns"),
        ("told.csv", "sample,caption\nrun/1.mp4,  \n", "line 2: an empty caption of sample `run/1.mp4`"),
        ("told.csv", b"sample,caption\nrun/1.mp4,caf\xe9\n", "not UTF-8"),
        ("told.json", "[1]", "holds a list"),
        ("told.json", '{"run/1.mp4": "a man"}', "sample `run/1.mp4`: expected a list of captions"),
        ("told.csv", 'sample,caption\nrun/1.mp4,"a man\nrun/2.mp4,he runs\n', "line 3: no CSV"),
        ("told.csv", f"sample,caption\nrun/1.mp4,{'a ' * 70_000}\n", "line 2: no CSV .*larger than field limit"),
        ("told.json", "{", "no JSON"),
        ("told.json", "[" * 100_000, "nested too deeply; expected a CSV table"),
        ("told.json", '{"run/1.mp4": ["a"], "run/1.mp4": ["b"]}', "sample `run/1.mp4` stands there twice"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_it(tmp_path, name, text, said):
    path = written(tmp_path, text, name)
    with pytest.raises(InputError, match=said) as error:
        read_references(path, IDS)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("separator", ["\u2028", "\x0b", "\x85"])
def test_only_a_line_break_ends_a_line_of_a_table(tmp_path, separator):
    caption = f"a man{separator}runs"
    path = written(tmp_path, f"sample,caption\r\nrun/1.mp4,{caption}\r\njump/1.mp4,she jumps\r\n")
    assert read_references(path, IDS) == [[caption], [], ["she jumps"]]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_references(tmp_path / "nothing.csv", IDS)
