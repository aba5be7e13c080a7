"""A method that learns from pixels, from the data folder to the verbs."""

import zipfile

import numpy as np
import pytest
from PIL import Image
from verbs import events, invoked

from platform.datasets.contents import ClassInfo, ClassSplit, Contents, FeatureArray
from platform.datasets.folder import Dataset, write_dataset
from platform.datasets.text import ClassText
from platform.training.trainable import Experiment, train
from platform.zeroshot.problem import ProblemOptions

CLASSES = ["bow", "clap", "drop", "hop", "jump", "wave"]
UNSEEN = ["hop", "wave"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Pictures of 2 x 2 pixels, each its class's attributes as colours; and their means as numbers."""
    rng = np.random.default_rng(0)
    colours = rng.integers(40, 215, (len(CLASSES), 12))
    labels = np.tile(np.arange(len(CLASSES)), 20)
    values = (colours[labels] + rng.integers(-5, 6, (len(labels), 12))).astype(np.uint8)
    contents = Contents(
        name="colours",
        modality="image",
        licence="none",
        source="made here",
        classes=[ClassInfo(name=n, attributes=c.tolist()) for n, c in zip(CLASSES, colours / 255, strict=True)],
        labels=labels,
        train=np.arange(len(labels)) < 80,
        features={
            "pixels": FeatureArray(values, "made here", kind="pixels"),
            "numbers": FeatureArray(values / 255, "made here", "standard"),
        },
        splits={"two": ClassSplit(unseen=UNSEEN, source="made up")},
    )
    return write_dataset(contents, tmp_path_factory.mktemp("data") / "colours").folder


@pytest.fixture(scope="module")
def model(pictures, tmp_path_factory):
    problem = ProblemOptions(dataset=pictures, split="two", text=ClassText(encoder="attributes"))
    experiment = Experiment(method="linear_pixels", problem=problem, configs=({},), seeds=(0,), test=True)
    folder = tmp_path_factory.mktemp("trained")
    (outcome,) = train(experiment, folder)
    assert outcome.test["clean"]["zsl"] > 0.9
    return folder / outcome.models["clean"]


def test_a_saved_model_is_evaluated_on_pixels(model, pictures):
    code, output, errors = invoked("evaluate", model, "--json")
    assert code == 0, errors
    assert events(output, "metrics")[0]["zsl"] > 0.9


def test_pixels_are_given_a_class_and_nothing_else_is(model, pictures, tmp_path):
    dataset = Dataset(pictures)
    rows = np.flatnonzero(dataset.labels == CLASSES.index("hop"))[:3]
    np.save(tmp_path / "pixels.npy", dataset.features("pixels")[rows])
    code, output, errors = invoked("predict", model, tmp_path / "pixels.npy", "--json")
    assert code == 0, errors
    assert [said["class"] for said in events(output, "prediction")] == ["hop"] * 3
    np.save(tmp_path / "numbers.npy", dataset.features("numbers")[rows])
    code, _, errors = invoked("predict", model, tmp_path / "numbers.npy")
    assert code == 2
    assert "numbers.npy: holds float32; the model was trained on pixels, expected uint8" in errors


def test_pictures_are_given_a_class_wherever_they_stand(model, pictures, tmp_path):
    dataset, folder = Dataset(pictures), tmp_path / "pictures"
    (folder / "below").mkdir(parents=True)
    names = {"a.png": "wave", "below/b.PNG": "hop"}
    for name, kind in names.items():
        row = int(np.flatnonzero(dataset.labels == CLASSES.index(kind))[0])
        Image.fromarray(dataset.features("pixels")[row].reshape(3, 2, 2).transpose(1, 2, 0)).save(folder / name)
    (folder / "notes.txt").write_text("of no interest")
    (folder / "torn.png").write_bytes(b"no picture")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name in (*names, "torn.png"):
            archive.write(folder / name, name)
    for source, expected in ((folder, names), (tmp_path / "all.zip", names), (folder / "a.png", {"a.png": "wave"})):
        code, output, errors = invoked("predict", model, source, "--json", "--generalised")
        assert code == 0, errors
        assert {said["picture"]: said["class"] for said in events(output, "prediction")} == expected
        assert ("torn.png" in errors) == (source.name != "a.png")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torn.png", "no readable picture; 1 pictures left out (no pictures, whatever their suffix): torn.png"),
        ("notes.txt", "notes.txt: expected .zip, a folder, or a picture: .jpg"),
        ("gone", "gone: no such file or folder"),
    ],
)
def test_what_is_no_picture_is_told(model, tmp_path, name, message):
    if name != "gone":
        (tmp_path / name).write_bytes(b"no picture")
    code, _, errors = invoked("predict", model, tmp_path / name)
    assert code == 2
    assert message in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (
            "methods.sadvae",
            ("--features", "pixels"),
            "methods.sadvae learns from numbers, but `pixels` is pixels; choose --features numbers",
        ),
        (
            "linear_pixels",
            ("--features", "numbers"),
            "linear_pixels learns from pixels, but `numbers` is numbers; choose --features pixels",
        ),
        ("linear_pixels", ("--features", "pixels", "--normalise", "l2"), "--normalise l2: the features are pixels"),
        ("linear_pixels", (), "--features is needed: "),
    ],
)
def test_a_method_is_given_what_it_learns_from(pictures, tmp_path, method, options, message):
    data = ("--dataset", pictures, "--split", "two", "--encoder", "attributes", "--runs", tmp_path)
    code, _, errors = invoked("train", method, *data, *options)
    assert code == 2
    assert message in errors
    assert list(tmp_path.iterdir()) == []
