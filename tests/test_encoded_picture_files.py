"""A method that learns from encoded pictures, from their files to the verbs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from verbs import events, invoked

from platform.datasets.contents import ClassSplit
from platform.datasets.folder import write_dataset
from platform.datasets.readers import ImportOptions, read
from platform.datasets.text import ClassText
from platform.training.saved_models import load_model
from platform.training.trainable import Experiment, train
from platform.zeroshot.problem import ProblemOptions, load_problem

CLASSES = ["bow", "clap", "drop", "hop", "jump", "wave"]
UNSEEN = ["hop", "wave"]
SIDE = 8


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """CLASS/NUMBER.png: four squares of their class's colours, with noise."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("made") / "colours"
    for name, colours in zip(CLASSES, rng.integers(40, 215, (len(CLASSES), 2, 2, 3)), strict=True):
        (folder / name).mkdir(parents=True)
        for number in range(20):
            pixels = np.kron(colours, np.ones((8, 8, 1))) + rng.integers(-9, 10, (16, 16, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number:02d}.png")
    return folder


@pytest.fixture(scope="module", params=[False, True], ids=["jpeg", "exact"])
def dataset(request, files, tmp_path_factory):
    contents = read("images", files, ImportOptions(size=SIDE, exact=request.param or None))
    rows = [np.flatnonzero(contents.labels == label) for label in range(len(CLASSES))]
    means = [contents.features["pictures"].values.decoded(own).float().mean(0).flatten() / 255 for own in rows]
    classes = [replace_attributes(info, mean) for info, mean in zip(contents.classes, means, strict=True)]
    splits = {"two": ClassSplit(unseen=UNSEEN, source="made up")}
    contents = replace(contents, classes=classes, splits=splits)
    return write_dataset(contents, tmp_path_factory.mktemp("data") / "colours")


def replace_attributes(info, mean):
    return info.model_copy(update={"attributes": mean.tolist()})


@pytest.fixture(scope="module")
def model(dataset, tmp_path_factory):
    problem = ProblemOptions(dataset=dataset.folder, split="two", text=ClassText(encoder="attributes"))
    experiment = Experiment(method="linear_pictures", problem=problem, configs=({},), seeds=(0,), test=True)
    folder = tmp_path_factory.mktemp("trained")
    (outcome,) = train(experiment, folder)
    assert outcome.test["clean"]["zsl"] > 0.9
    return folder / outcome.models["clean"]


def test_a_problem_is_views_of_the_file(dataset):
    problem = load_problem(ProblemOptions(dataset=dataset.folder, split="two", text=ClassText(encoder="attributes")))
    whole, (fold, *_) = dataset.features(), problem.validation_folds(2, 0.2, 0)
    stored = [whole.key(row) for row in range(len(whole))]
    for samples in (problem.task, problem.test, fold.task, fold.samples):
        keys = [samples.features.key(row) for row in range(len(samples.labels))]
        assert set(keys) <= set(stored)
    assert [stored[row] for row in np.flatnonzero(dataset.train & ~np.isin(dataset.labels, [3, 5]))] == [
        problem.task.features.key(row) for row in range(len(problem.task.labels))
    ]


def test_a_saved_model_is_evaluated(model):
    code, output, errors = invoked("evaluate", model, "--json")
    assert code == 0, errors
    assert events(output, "metrics")[0]["zsl"] > 0.9


def test_a_file_is_given_the_class_that_its_sample_is(model, dataset, files, tmp_path):
    trained, _ = load_model(model, torch.device("cpu"))
    rows = np.flatnonzero(dataset.labels == CLASSES.index("hop"))
    expected = trained.unseen_scores(dataset.features()[rows]).softmax(dim=1).max(dim=1)
    code, output, errors = invoked("predict", model, files / "hop", "--json")
    assert code == 0, errors
    said = events(output, "prediction")
    assert [one["picture"] for one in said] == [f"{number:02d}.png" for number in range(20)]
    assert [one["class"] for one in said] == [UNSEEN[place] for place in expected.indices]
    assert [one["probability"] for one in said] == [round(value, 4) for value in expected.values.tolist()]
    np.save(tmp_path / "numbers.npy", np.zeros((2, 3 * SIDE**2), np.uint8))
    code, _, errors = invoked("predict", model, tmp_path / "numbers.npy")
    assert (code, errors.count("\n")) == (2, 1)
    assert "numbers.npy: expected .zip, a folder, or a picture: .jpg" in errors


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (
            "methods.regen",
            "methods.regen learns from frames, but `pictures` is pictures; give --dataset a folder with frames (python "
            "-m platform.data import videos makes one of videos)",
        ),
        ("linear_pixels", "linear_pixels learns from pixels, but `pictures` is pictures; give --dataset a folder with"),
    ],
)
def test_a_method_is_given_what_it_learns_from(dataset, tmp_path, method, message):
    data = ("--dataset", dataset.folder, "--split", "two", "--encoder", "attributes", "--runs", tmp_path)
    code, _, errors = invoked("train", method, *data)
    assert code == 2
    assert message in errors


def test_a_training_says_what_it_is_given(dataset, tmp_path):
    data = ("--dataset", dataset.folder, "--split", "two", "--encoder", "attributes", "--runs", tmp_path)
    code, output, errors = invoked("train", "linear_pictures", *data)
    assert code == 0, errors
    assert f"pictures: {SIDE} × {SIDE} pixels, normalise none" in " ".join((output + errors).split())


def test_info_says_how_they_are_kept(dataset):
    code, output, _ = invoked("data", "info", dataset.folder)
    assert code == 0
    kept = "PNG (exact)" if dataset.features().exact else "JPEG quality 90"
    assert kept in " ".join(output.split())
