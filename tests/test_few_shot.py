"""The verb `few_shot`: a trained model learns from a few samples of each unseen class."""

import json

import numpy as np
import pytest
from verbs import CLASSES, UNSEEN, events, invoked, tracked_runs, write_small_dataset

from platform.datasets.contents import ClassInfo, ClassSplit, Contents, FeatureArray
from platform.datasets.folder import write_dataset
from platform.datasets.text import ClassText
from platform.datasets.trained_on import NOT_TRAINED
from platform.errors import InputError
from platform.method import load_method
from platform.report.results import FEW_SHOT_TAG, results_of_store
from platform.setup import ProblemData
from platform.tracking.record import RunRecord, Tracker
from platform.training.few_shot import FewShotProblem
from platform.zeroshot.problem import ProblemOptions

TEST_SAMPLES = 20  # of the two unseen classes, in the test partition


def far_off(folder):
    """Classes whose attributes say nothing of their samples, which lie around a mean of their own."""
    rng = np.random.default_rng(0)
    labels = np.tile(np.arange(len(CLASSES)), 30)
    means = 4 * rng.normal(size=(len(CLASSES), 8))
    classes = [ClassInfo(name=n, attributes=rng.normal(size=6).tolist()) for n in CLASSES]
    contents = Contents(
        name="far",
        modality="skeleton",
        licence="none",
        source="made here",
        classes=classes,
        labels=labels,
        train=np.arange(len(labels)) < 2 * len(labels) // 3,
        features={"random": FeatureArray(means[labels] + rng.normal(size=(240, 8)), "made", trained_on=NOT_TRAINED)},
        splits={"two": ClassSplit(unseen=UNSEEN, source="made up")},
    )
    return write_dataset(contents, folder).folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a model, and that of its run."""
    dataset, runs = far_off(tmp_path_factory.mktemp("data") / "far"), tmp_path_factory.mktemp("runs")
    asked = ("--dataset", dataset, "--split", "two", "--encoder", "attributes", "--protocol", "clean", "--runs", runs)
    code, _, errors = invoked("train", "few_shot_method", *asked)
    assert code == 0, errors
    (model,) = runs.glob("*/models/0-clean")
    return model, runs


def few_shot(trained, *arguments):
    model, runs = trained
    code, output, errors = invoked("few_shot", model, "--runs", runs, *arguments)
    assert code == 0, errors
    return output


def test_a_few_samples_tell_classes_that_their_text_does_not(trained):
    output = few_shot(trained, "--shots", "4", "--shots", "1", "--json")
    (zero_shot,) = events(output, "zero_shot")
    found = events(output, "few_shot")
    assert [(test["draw"], test["shots"]) for test in found] == [(d, k) for d in range(3) for k in (1, 4)]
    assert all(test["accuracy"] > 0.9 for test in found if test["shots"] == 4)
    assert zero_shot["zsl"] < 0.9
    assert (zero_shot["classes"], zero_shot["test_samples"], zero_shot["protocol"]) == (2, TEST_SAMPLES, "clean")


def test_a_table_tells_means_and_spread_beside_zero_shot_and_chance(trained):
    output = few_shot(trained, "--shots", "2", "--draws", "2", "--set", "pull=0")
    said = " ".join(output.split())
    assert "far, split two, protocol clean" in said
    assert "none: zero-shot" in said
    assert "± 0.0" in said  # nothing was learned
    assert "n: draws of the samples, mean ± standard deviation; among 2 classes, chance 50.0 %; 20 test samples" in said
    assert not [line for line in output.splitlines() if "\\x1b" in line]


def test_each_draw_stands_in_mlflow_apart_from_plain_tests(trained):
    runs = trained[1]
    before = {folder.name for folder in runs.iterdir()}
    output = few_shot(trained, "--shots", "2", "--draws", "2", "--seed", "5")
    folder = output.split("recorded in MLflow as ")[1].strip()
    assert folder not in before
    kept = json.loads((runs / folder / "few_shot.json").read_text())
    assert [(t["draw"], t["shots"]) for t in kept["tests"]] == [(5, 2), (6, 2)]
    parent, children = tracked_runs(runs / folder)
    assert parent.info.status == "FINISHED"
    assert sorted(children) == ["two-draw-5", "two-draw-6"]
    metrics = children["two-draw-5"].data.metrics
    assert set(metrics) == {f"clean/few_shot_{k}{kind}" for k in (0, 2) for kind in ("", "_per_sample")}
    found = [r for r in results_of_store(runs, few_shot=True) if r.run == folder]
    assert sorted((r.seed, r.data.split, r.counts["unseen_samples"]) for r in found) == [
        (5, "two", TEST_SAMPLES),
        (6, "two", TEST_SAMPLES),
    ]
    assert found[0].config["pull"] == 1.0
    assert not [r for r in results_of_store(runs) if "few_shot_2" in r.metrics]


def test_draws_are_nested_and_balanced(trained):
    problem = FewShotProblem.of(trained[0])
    two, four = problem.drawn(2, 0), problem.drawn(4, 0)
    assert two.labels.bincount().tolist() == [2, 2]
    assert four.labels.bincount().tolist() == [4, 4]
    rows = {tuple(row) for row in four.features.tolist()}
    assert {tuple(row) for row in two.features.tolist()} <= rows
    assert {tuple(row) for row in problem.drawn(4, 1).features.tolist()} != rows
    tested = {tuple(row) for row in problem.test.features.tolist()}
    assert not tested & {tuple(row) for row in problem.pool.features.tolist()}


def record_regens(runs, dataset, name, values):
    """A run of few-shot tests of ReGen in the store, as the verb writes it: a draw's accuracy after two shots each."""
    text = ClassText(encoder="attributes")
    data = ProblemData.of(ProblemOptions(dataset=dataset, split="two", features="random", text=text))
    tracker = Tracker(runs, "unseen")
    tags = {**data.tags(), **data.extractor_tags(), "method": "methods.regen"}
    tracker.parent(name, name, {"method": "methods.regen"}, tags)
    for draw, value in enumerate(values):
        params = {**load_method("methods.regen").configure({}).model_dump(), "seed": draw, "split": "two"}
        metrics = {"clean/few_shot_2": value, "clean/few_shot_2_per_sample": value}
        tracker.child(RunRecord(f"{draw}", f"{draw}", params, (), metrics, "FINISHED", {FEW_SHOT_TAG: "epochs=3"}))
    tracker.finish("FINISHED")


def test_compare_shows_the_latest_few_shot_tests_beside_the_papers(tmp_path):
    dataset, runs = far_off(tmp_path / "far"), tmp_path / "runs"
    asked = ("--table", "regen-6", "--dataset", dataset, "--encoder", "attributes", "--splits", "two", "--runs", runs)
    code, output, errors = invoked("compare", *asked)
    assert code == 0, errors
    assert "61.8‡" in output
    assert "missing: ReGen on two: train it, then python -m platform.few_shot RUN/models/0-clean" in errors
    record_regens(runs, dataset, "older", [0.9, 0.9])
    record_regens(runs, dataset, "newer", [0.4, 0.6])
    code, output, errors = invoked("compare", *asked)
    assert (code, "missing" in errors) == (0, False)
    assert "50.0 ± 14.1" in output
    assert "runs: newer; " in output
    assert "older few-shot runs are left out: older; name them to see them" in output
    assert "90.0 ± 0.0" in invoked("compare", "older", *asked)[1]
    code, _, errors = invoked("compare", *asked, "--run")
    assert (code, errors) == (2, "error: --run: python -m platform.few_shot MODEL tests what --table regen-6 shows\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--shots", "30"), "error: --shots 30: class `hop` has 20 training samples in "),
        (("--set", "pull=2"), "error: pull=2: "),
        (("--set", "push=1"), "push"),
        (("--split", "none"), "no class split `none`"),
    ],
)
def test_a_wrong_option_is_one_line(trained, arguments, message):
    code, output, errors = invoked("few_shot", trained[0], "--runs", trained[1], *arguments)
    assert (code, output) == (2, "")
    assert message in errors
    assert errors.count("\n") == 1


def test_a_method_that_cannot_and_a_folder_without_a_model_are_one_line(trained, tmp_path):
    dataset = write_small_dataset(tmp_path / "small")
    asked = ("--dataset", dataset, "--split", "two", "--encoder", "attributes", "--protocol", "clean")
    assert invoked("train", "methods.eszsl", *asked, "--runs", tmp_path / "runs")[0] == 0
    (model,) = (tmp_path / "runs").glob("*/models/0-clean")
    code, _, errors = invoked("few_shot", model)
    assert code == 2
    assert errors == f"error: {model}: methods.eszsl has no few-shot training (`platform.capabilities.FewShot`)\n"
    assert invoked("few_shot", tmp_path)[::2] == (2, f"error: {tmp_path} holds no model: it has no model.json\n")


def test_a_class_without_a_test_sample_is_named(trained, tmp_path):
    model, _ = trained
    contents = Contents(
        name="trained alone",
        modality="skeleton",
        licence="none",
        source="made here",
        classes=[ClassInfo(name=name, attributes=[1.0] * 6) for name in (*UNSEEN, "bow")],
        labels=np.array([0, 0, 1, 1, 2, 2]),
        train=np.array([True, False, True, True, True, False]),
        features={"random": FeatureArray(np.ones((6, 8)), "none", trained_on=NOT_TRAINED)},
        unseen_test="all",
        splits={"both": ClassSplit(unseen=UNSEEN, source="made up")},
    )
    folder = write_dataset(contents, tmp_path / "data").folder
    with pytest.raises(InputError, match="class `wave` has no sample in the test partition"):
        FewShotProblem.of(model, folder, "both")
