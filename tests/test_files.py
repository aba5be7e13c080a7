import json

import pytest

from platform.errors import InputError
from platform.files import NotWritable, held, whole, write_json, writing


def test_json_is_replaced_whole(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, [1])
    write_json(path, {"folder": tmp_path})
    assert json.loads(path.read_text()) == {"folder": str(tmp_path)}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_write_that_fails_leaves_the_former_file_and_says_where(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("former")

    def fail():
        with writing(tmp_path), whole(path) as partial:
            partial.write_text("half")
            raise OSError("no space left on device")

    with pytest.raises(NotWritable, match="cannot be written"):
        fail()
    assert path.read_text() == "former"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_is_held_once(tmp_path):
    with held(tmp_path), pytest.raises(InputError, match="another process is at work there"), held(tmp_path):
        pass
    with held(tmp_path):
        pass
