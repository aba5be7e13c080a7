"""A method that learns from encoded frames, from the data folder to the verbs."""

import json
import os
import time
from unittest.mock import patch

import numpy as np
import pytest
from made_frames import SIDE, write_frames
from made_videos import brightening, write_video
from verbs import descendants, ended, events, invoked, started, still_running, wait_for

from platform.datasets.contents import ClassInfo, ClassSplit, Contents, FeatureArray
from platform.datasets.folder import write_dataset

CLASSES = ["bow", "clap", "drop", "hop", "jump", "wave"]
UNSEEN = ["hop", "wave"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Clips of four frames, whose colours are their class's attributes; and these colours as numbers."""
    rng = np.random.default_rng(0)
    colours = rng.integers(40, 215, (len(CLASSES), 4, 3))
    labels = np.tile(np.arange(len(CLASSES)), 20)
    values = colours[labels] + rng.integers(-5, 6, (len(labels), 4, 3))
    frames = write_frames(tmp_path_factory.mktemp("made") / "f.arrow", values)
    attributes = colours.reshape(len(CLASSES), -1) / 255
    contents = Contents(
        name="clips",
        modality="video",
        licence="none",
        source="made here",
        classes=[ClassInfo(name=n, attributes=a.tolist()) for n, a in zip(CLASSES, attributes, strict=True)],
        labels=labels,
        train=np.arange(len(labels)) < 80,
        features={
            "frames": FeatureArray(frames, "made here", kind="frames"),
            "numbers": FeatureArray(values.reshape(len(values), -1) / 255, "made here", "standard"),
        },
        splits={"two": ClassSplit(unseen=UNSEEN, source="made up")},
    )
    return write_dataset(contents, tmp_path_factory.mktemp("data") / "clips").folder


@pytest.fixture(scope="module")
def trained(clips, tmp_path_factory):
    """The output of a training, and the folder of its model."""
    runs = tmp_path_factory.mktemp("runs")
    data = ("--dataset", clips, "--split", "two", "--features", "frames", "--encoder", "attributes")
    code, output, errors = invoked("train", "linear_frames", *data, "--runs", runs)
    assert code == 0, errors
    (model,) = runs.glob("*/models/0-clean")
    return output + errors, model


def test_a_training_says_what_it_is_given(trained):
    assert f"frames: 4 frames of {SIDE} × {SIDE} pixels, normalise none" in " ".join(trained[0].split())


def test_a_saved_model_is_evaluated_on_frames(trained, clips):
    code, output, errors = invoked("evaluate", trained[1], "--json")
    assert code == 0, errors
    assert events(output, "metrics")[0]["zsl"] > 0.9


def test_videos_are_predicted_and_those_that_cannot_be_read_are_named(trained, tmp_path):
    write_video(tmp_path / "videos" / "a.mp4", brightening(12))
    (tmp_path / "videos" / "b.mp4").write_bytes(b"no video")
    code, output, errors = invoked("predict", trained[1], tmp_path / "videos", "--json")
    assert code == 0, errors
    (found,) = events(output, "prediction")
    assert found["class"] in UNSEEN
    assert found["video"] == "a.mp4"
    assert "b.mp4" in errors


@pytest.mark.parametrize(
    ("name", "message"),
    [("v.mp4", "no such video or folder"), ("v.txt", "no video; expected one, or a folder of them")],
)
def test_what_is_no_video_is_refused_by_a_model_of_frames(trained, tmp_path, name, message):
    (tmp_path / "v.txt").touch()
    code, _, errors = invoked("predict", trained[1], tmp_path / name)
    assert code == 2
    assert f"{name}: {message}" in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (
            "methods.sadvae",
            ("--features", "frames"),
            "methods.sadvae learns from numbers, but `frames` is frames; choose --features numbers",
        ),
        (
            "linear_frames",
            ("--features", "numbers"),
            "linear_frames learns from frames, but `numbers` is numbers; choose --features frames",
        ),
        (
            "linear_frames",
            ("--features", "frames", "--normalise", "l2"),
            "--normalise l2: the features are frames, given to a method as they are; leave it out",
        ),
    ],
)
def test_a_method_is_given_what_it_learns_from(clips, tmp_path, method, options, message):
    data = ("--dataset", clips, "--split", "two", "--encoder", "attributes", "--runs", tmp_path)
    code, _, errors = invoked("train", method, *data, *options)
    assert code == 2
    assert message in errors
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_numbers_alone_is_refused_with_what_to_import(tmp_path):
    labels = np.tile(np.arange(6), 4)
    contents = Contents(
        name="numbers",
        modality="video",
        licence="none",
        source="made here",
        classes=[ClassInfo(name=n, attributes=[float(i)]) for i, n in enumerate(CLASSES)],
        labels=labels,
        train=np.arange(24) < 12,
        features={"f": FeatureArray(np.ones((24, 2)), "x")},
        splits={"two": ClassSplit(unseen=UNSEEN, source="made up")},
    )
    folder = write_dataset(contents, tmp_path / "data").folder
    data = ("--dataset", folder, "--split", "two", "--encoder", "attributes", "--runs", tmp_path / "runs")
    code, _, errors = invoked("train", "linear_frames", *data)
    assert code == 2
    assert "give --dataset a folder with frames (python -m platform.data import videos makes one of videos)" in errors


@pytest.mark.slow
def test_an_import_that_is_killed_leaves_nothing_and_can_begin_anew(tmp_path):
    pytest.importorskip("av")
    for kind in ("bow", "clap"):
        for i in range(150):
            write_video(tmp_path / "v" / kind / f"{i}.avi", brightening(20))
    arguments = ("import", "videos", tmp_path / "v", tmp_path / "out", "--size", 16, "--workers", 1)
    (tmp_path / "temporary").mkdir()
    environment = {"TMPDIR": str(tmp_path / "temporary")}
    with patch.dict(os.environ, environment):
        process = started("data", *arguments)
    workers = {}
    wait_for(
        lambda: workers.update(descendants(process.pid)) or any("spawn_main" in w for w in workers.values()), process
    )
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 60
    while still_running(workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not still_running(workers)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["temporary", "v"]
    assert list((tmp_path / "temporary").iterdir()) == []
    output, _ = ended(started("data", *arguments))
    assert "8 frames, 3 x 16 x 16" in output


def test_videos_are_imported_and_info_says_so(tmp_path):
    pytest.importorskip("av")
    for number, kind in enumerate(CLASSES):
        for i in range(5):
            write_video(tmp_path / "v" / kind / f"{i}.avi", brightening(5 + i + number))
    code, output, errors = invoked(
        "data", "import", "videos", tmp_path / "v", tmp_path / "out", "--frames", 2, "--size", 16, "--workers", 0
    )
    assert code == 0, errors
    assert "2 frames, 3 x 16 x 16" in output
    assert "Next: python -m platform.train METHOD --dataset" in output
    code, output, _ = invoked("data", "info", tmp_path / "out", "--json", "--verify")
    facts = json.loads(output)["features"]["frames"]
    assert (code, facts["kind"], facts["frames"], facts["side"]) == (0, "frames", 2, 16)
