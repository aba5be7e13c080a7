"""ReGen's rows in a world: trained once each, and told apart."""

import json

import pytest

from benchmarks import regen_demo
from benchmarks.regen_demo import COLUMNS, Row, trained_rows
from benchmarks.regen_world import world


@pytest.mark.slow
def test_rows_are_trained_once_and_told_in_all_columns(tmp_path, monkeypatch):
    made = world(tmp_path / "world", effort=0.005, subjects=4, teachers=1)
    rows = {"REST": Row(epochs=0), "CLS-R": Row({"lambda_clip": 0, "lambda_grammar": 0}, epochs=1)}
    monkeypatch.setattr(regen_demo, "ROWS", rows)
    found = trained_rows(made)
    assert list(found) == list(rows)
    assert all(set(COLUMNS) <= set(own) for own in found.values())
    told = made.folder / "rows" / "CLS-R.json"
    (epoch,) = json.loads(told.read_text())["epochs"]
    assert "class_reward" in epoch
    before = told.stat().st_mtime_ns
    assert trained_rows(made) == found
    assert told.stat().st_mtime_ns == before
