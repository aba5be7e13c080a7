"""What an extractor has seen, from the card to refusals and to the marks of every verb's tables."""

import json
import shutil

import pytest
from verbs import events, invoked, small_options, tracked_runs, write_small_dataset

from platform.report.results import results_of_folders, results_of_store

KNOWS = "the extractor behind `random` was trained on 1 of the 2 unseen classes: hop"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def clean(home):
    return write_small_dataset(home / "clean")


@pytest.fixture(scope="module")
def seen(home, clean):
    """The same data, whose features' extractor was trained on an unseen class of the split `two`, and on NTU-60."""
    shutil.copytree(clean, home / "seen")
    path = home / "seen" / "dataset.json"
    card = json.loads(path.read_text())
    card["features"]["random"]["trained_on"] = {"classes": ["bow", "hop"], "other": ["ntu60"], "source": "a test"}
    path.write_text(json.dumps(card))
    return home / "seen"


@pytest.fixture(scope="module")
def trained(home, seen):
    """A training that was allowed: its folder, and what it printed."""
    options = small_options(seen, home / "runs", epochs=1)
    code, output, errors = invoked("train", "methods.sadvae", *options, "--allow-seen-extractor")
    assert code == 0, errors
    (folder,) = (home / "runs").glob("train-*")
    return folder, output, errors


def _options(dataset, home):
    return ["--dataset", dataset, "--encoder", "attributes", "--runs", home / "runs"]


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("train", ["methods.sadvae", "--split", "two"]),
        ("tune", ["methods.sadvae", "--split", "two"]),
        ("tune", ["methods.sadvae", "--splits", "one,two"]),
        ("compare", ["--table", "sadvae-6", "--splits", "two", "--run"]),
    ],
)
def test_a_split_that_the_extractor_has_seen_is_refused_before_a_folder_is_made(seen, tmp_path, verb, arguments):
    code, output, errors = invoked(verb, *arguments, *_options(seen, tmp_path))
    assert (code, output) == (2, "")
    assert errors.startswith(f"error: {seen}: split `two`: {KNOWS}; choose another split (one)")
    assert "--allow-seen-extractor" in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_what_is_allowed_says_so_and_is_marked(trained):
    _, output, errors = trained
    assert f"§ split two: {KNOWS}" in errors
    assert "¶ split two: the extractor behind `random` was trained on ntu60" in errors
    for protocol in ("clean", "released"):
        assert f"{protocol} §¶" in output
    assert "§ the features' extractor was trained on unseen classes" in output


def test_folders_and_mlflow_keep_the_marks(home, trained):
    parent, _ = tracked_runs(trained[0])
    assert parent.data.tags["data.extractor"] == "two: unseen+pretrained"
    assert parent.data.tags["data.pretrained_on"] == "ntu60"
    for found in (results_of_folders([trained[0]]), results_of_store(home / "runs", [trained[0].name])):
        assert {(r.data.extractor, r.data.pretrained_on) for r in found} == {(("unseen", "pretrained"), "ntu60")}


def test_compare_marks_every_number_of_such_a_run(home, trained):
    code, output, errors = invoked("compare", trained[0], "--runs", home / "runs")
    assert code == 0, errors
    assert "clean §¶" in output
    (page,) = (home / "runs").glob("compare-*/comparison.md")
    (row,) = [line for line in page.read_text().splitlines() if "| clean §¶ |" in line]
    assert all(cell.endswith("§¶") for cell in row.strip("| ").split(" | ")[4:])
    assert "- trained on ntu60: random of small\n" in page.read_text()


def test_a_model_is_tested_again_on_its_own_data_and_not_on_another_split(trained, seen):
    model = trained[0] / "models" / "0-clean"
    code, output, errors = invoked("evaluate", model)
    assert (code, "protocol clean §¶" in output, KNOWS in errors) == (0, True, True)
    code, output, errors = invoked("evaluate", model, "--split", "two")
    assert (code, output) == (2, "")
    assert f"{seen}: split `two`: {KNOWS}" in errors
    code, output, _ = invoked("evaluate", model, "--split", "two", "--allow-seen-extractor", "--json")
    assert code == 0
    assert [event["kind"] for event in events(output, "extractor")] == ["unseen", "pretrained"]


def test_a_clean_run_has_no_mark(clean, tmp_path):
    code, output, errors = invoked("train", "methods.sadvae", *small_options(clean, tmp_path / "runs", epochs=1))
    assert code == 0
    assert not set("§‖¶?") & {*output, *errors}
    (folder,) = (tmp_path / "runs").glob("train-*")
    assert {r.data.extractor for r in results_of_folders([folder])} == {()}
