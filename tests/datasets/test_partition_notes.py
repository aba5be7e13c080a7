from dataclasses import replace

import numpy as np
import pytest
from made_frames import greys, write_frames

from platform.datasets.contents import ClassInfo, ClassSplit, Contents, FeatureArray, Skeletons
from platform.datasets.folder import write_dataset
from platform.datasets.partition_notes import partition_notes

NAMES = ["bow", "clap", "drop", "wave"]


def contents(**others):
    """12 samples, six of them in training; all features differ."""
    given = {
        "labels": np.tile(np.arange(4), 3),
        "features": {"f": FeatureArray(np.arange(24.0).reshape(12, 2), "x")},
        "train": np.arange(12) < 6,
    }
    return Contents(
        name="small",
        modality="skeleton",
        licence="none",
        source="made here",
        classes=[ClassInfo(name=n) for n in NAMES],
        **given | others,
    )


def doubled(values, rows=((7, 0), (9, 1), (2, 3), (10, 11))):
    """Two test samples that are training samples; and doubles within a partition, which are no fault of these."""
    values = values.copy()
    for row, of in rows:
        values[row] = values[of]
    return values


def test_frames_are_compared_by_their_bytes(tmp_path):
    frames = write_frames(tmp_path / "f.arrow", doubled(greys(12)))
    assert partition_notes(contents(features={"f": FeatureArray(frames, "x", kind="frames")})) == [
        "2 of 6 test samples are byte-identical to training samples (`f`): they test what was trained on"
    ]


def test_sound_partitions_are_not_mentioned():
    assert partition_notes(contents()) == []


def test_test_samples_that_were_trained_on_are_counted():
    features = {"f": FeatureArray(doubled(np.arange(24.0).reshape(12, 2)), "x")}
    (note,) = partition_notes(contents(features=features))
    assert note.startswith("2 of 6 test samples are byte-identical to training samples (`f`)")


def test_what_is_identical_is_named_once(monkeypatch):
    monkeypatch.setattr("platform.datasets.partition_notes._CHUNK", 5)
    clips = [np.full((2 + i, 1, 20, 3), i, np.float32) for i in range(12)]
    clips[7], clips[9] = clips[0], clips[1].copy()
    values = np.random.default_rng(0).integers(0, 255, (12, 12)).astype(np.uint8)
    features = {
        "f": FeatureArray(doubled(np.arange(24.0).reshape(12, 2)), "x"),
        "pixels": FeatureArray(doubled(values, [(11, 4)]), "x", kind="pixels"),
    }
    notes = partition_notes(contents(features=features, skeletons=Skeletons(clips, "kinect_v1")))
    assert [note.partition(":")[0] for note in notes] == [
        "2 of 6 test samples are byte-identical to training samples (skeletons, `f`)",
        "1 of 6 test samples are byte-identical to training samples (`pixels`)",
    ]


def test_clips_of_other_lengths_are_not_identical():
    clips = [np.zeros((2 + i, 1, 20, 3), np.float32) for i in range(12)]
    assert partition_notes(contents(skeletons=Skeletons(clips, "kinect_v1"))) == []


def test_held_out_samples_that_the_test_has_too_are_counted():
    small = contents()
    fold = contents(features={"f": FeatureArray(doubled(np.arange(100.0, 124.0).reshape(12, 2), ()), "x")})
    fold.features["f"].values[8] = small.features["f"].values[11]  # held out, and a test sample
    fold.features["f"].values[9] = small.features["f"].values[0]  # held out, and a training sample: as it should be
    (note,) = partition_notes(replace(small, validation=fold))
    assert note.startswith("validation/: 1 of its 6 held-out samples are byte-identical to test samples (`f`)")


@pytest.mark.parametrize(
    ("labels", "splits", "expected"),
    [
        ([0, 1, 2, 3, 0, 1] * 2, {"one": ["bow", "clap"]}, []),
        ([0, 1, 2, 0, 1, 2] * 2, {}, ["1 of 4 classes have no sample at all: wave"]),
        (
            [0, 1, 2, 0, 1, 2, 3, 0, 1, 2, 3, 0],
            {"one": ["bow", "clap"], "two": ["clap", "drop"], "three": ["bow", "wave"]},
            ["seen by split one, two, but without training samples, and so left out there: wave"],
        ),
        (
            [0, 1, 2, 0, 1, 2, 3, 0, 1, 2, 3, 0],
            {},
            ["without training samples, and so left out of every split that sees them: wave"],
        ),
    ],
)
def test_classes_without_samples_are_named(labels, splits, expected):
    named = {name: ClassSplit(unseen=unseen, source="made up") for name, unseen in splits.items()}
    assert partition_notes(contents(labels=np.array(labels), splits=named)) == expected


def test_they_stand_on_the_card(tmp_path):
    features = {"f": FeatureArray(doubled(np.arange(24.0).reshape(12, 2)), "x")}
    card = write_dataset(contents(features=features, notes=["odd"]), tmp_path / "small").card
    assert card.notes[0] == "odd"
    assert card.notes[1].startswith("2 of 6 test samples are byte-identical")
