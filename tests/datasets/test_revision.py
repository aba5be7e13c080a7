import fcntl
import os
from dataclasses import replace

import numpy as np
import pytest
from made_frames import SIDE, greys, write_frames

from platform.datasets import revision
from platform.datasets.contents import ClassInfo, ClassSplit, Contents, FeatureArray
from platform.datasets.folder import Dataset, FeatureSet, write_dataset
from platform.datasets.revision import revised
from platform.errors import InputError

NAMES = ["bow", "clap", "drop", "wave"]


def contents(**changed):
    labels = np.arange(8) % 4
    values = {
        "name": "small",
        "modality": "skeleton",
        "licence": "none",
        "source": "made here",
        "classes": [ClassInfo(name=n) for n in NAMES],
        "labels": labels,
        "train": np.arange(8) < 4,
        "features": {"old": FeatureArray(np.eye(8), "an old one")},
        "splits": {"one": ClassSplit(unseen=["wave"], source="made up")},
        "embeddings": {"codes": np.eye(4)},
    }
    return Contents(**{**values, **changed})


NEW = FeatureArray(np.arange(16.0).reshape(8, 2), "a new one", "l2")


@pytest.fixture
def dataset(tmp_path):
    return write_dataset(contents(), tmp_path / "data")


def test_references_replace_former_ones_and_stay_when_a_set_is_added(dataset):
    assert dataset.references is None
    told = [[f"a caption of {i}"] for i in range(7)] + [[]]
    assert revised(dataset, {}, references=[["other"]] * 8).references == [["other"]] * 8
    found = revised(dataset, {}, references=told)
    assert found.references == told
    assert found.damaged() == []
    assert found.card.checksum != dataset.card.checksum
    assert revised(found, {"new": NEW}).references == told


def left_over(folder):
    return sorted(path.name for path in folder.parent.iterdir() if path.name != folder.name)


def test_a_new_set_stands_beside_the_old_ones(dataset):
    dataset.add_embedding("texts/kept", np.ones((4, 3)))
    found = revised(dataset, {"new": NEW}, logits=np.ones((8, 4)))
    assert found.folder == dataset.folder
    assert list(found.card.features) == ["old", "new"]
    assert found.card.features["new"] == FeatureSet(dimension=2, extractor="a new one", normalise="l2")
    np.testing.assert_array_equal(found.features("new"), NEW.values)
    np.testing.assert_array_equal(found.features("old"), np.eye(8))
    np.testing.assert_array_equal(found.logits, np.ones((8, 4)))
    np.testing.assert_array_equal(found.embedding("texts/kept"), np.ones((4, 3)))
    assert found.damaged() == []
    assert left_over(found.folder) == []
    np.testing.assert_array_equal(dataset.features("old"), np.eye(8))  # what was open before still reads


def test_pixels_stay_pixels_beside_a_new_set(dataset):
    pixels = FeatureArray(np.arange(96, dtype=np.uint8).reshape(8, 12), "made here", kind="pixels")
    found = revised(revised(dataset, {"pixels": pixels}), {"new": NEW})
    np.testing.assert_array_equal(found.features("pixels"), pixels.values)
    assert found.features("pixels").dtype == np.uint8
    assert (found.card.features["pixels"].kind, found.card.features["pixels"].side) == ("pixels", 2)


def test_frames_stay_frames_beside_a_new_set(dataset, tmp_path):
    frames = FeatureArray(write_frames(tmp_path / "f.arrow", greys(8)), "made here", kind="frames")
    found = revised(revised(dataset, {"frames": frames}), {"new": NEW})
    values = found.features("frames")
    assert [values.key(i) for i in range(8)] == [frames.values.key(i) for i in range(8)]
    facts = found.card.features["frames"]
    assert (facts.kind, facts.side, facts.frames) == ("frames", SIDE, 2)
    assert found.damaged() == []
    with pytest.raises(InputError, match="feature set `frames`: 3 rows, expected 8"):
        revised(found, {"frames": replace(frames, values=frames.values[:3])})


def test_a_new_folder_leaves_the_old_one_and_may_have_one_split_alone(dataset, tmp_path):
    split = ClassSplit(unseen=["drop"], source="another")
    found = revised(dataset, {"new": NEW}, only=("other", split), to=tmp_path / "deep" / "copy")
    assert found.splits == {"other": split}
    assert list(found.card.features) == ["new", "old"]  # what it was made for comes first
    assert found.damaged() == dataset.damaged() == []
    assert list(Dataset(dataset.folder).card.features) == ["old"]
    assert list(Dataset(dataset.folder).splits) == ["one"]
    shared = [os.stat(folder / "features" / "old.arrow").st_ino for folder in (dataset.folder, found.folder)]
    assert shared[0] == shared[1]
    own = [os.stat(folder / "classes.json").st_ino for folder in (dataset.folder, found.folder)]
    assert own[0] != own[1]


def test_published_splits_go_with_their_class_list(tmp_path):
    names = [f"class {i}" for i in range(60)]
    data = contents(
        classes=[ClassInfo(name=n) for n in names], class_list="ntu60", embeddings={}, splits={}, labels=np.arange(8)
    )
    dataset = write_dataset(data, tmp_path / "data")
    assert "55_5" in dataset.splits
    found = revised(dataset, {"new": NEW}, only=("55_5", dataset.split("55_5")), to=tmp_path / "copy")
    assert list(found.splits) == ["55_5"]


def test_a_validation_folder_is_replaced_whole(dataset):
    first = revised(dataset, {"new": NEW}, validation=contents(splits={"given": contents().splits["one"]}))
    assert list(first.validation.splits) == ["given"]
    more = contents(features={"old": FeatureArray(np.eye(8), ""), "third": NEW})
    second = revised(first, {"third": NEW}, validation=more)
    assert list(second.validation.card.features) == ["old", "third"]
    assert list(second.card.features) == ["old", "new", "third"]
    assert second.damaged() == second.validation.damaged() == []


def test_a_set_of_the_same_name_is_written_over(dataset):
    revised(dataset, {"new": NEW})
    other = FeatureArray(np.zeros((8, 3)), "a newer one")
    found = revised(Dataset(dataset.folder), {"new": other})
    np.testing.assert_array_equal(found.features("new"), other.values)
    assert found.damaged() == []


@pytest.mark.parametrize("at", ["_write_features", "_checksum", "_exchange"])
@pytest.mark.parametrize("interrupt", [OSError("no space left"), KeyboardInterrupt()])
def test_what_breaks_off_leaves_the_old_folder(dataset, monkeypatch, at, interrupt):
    def broken(*_):
        raise interrupt

    monkeypatch.setattr(revision, at, broken)
    with pytest.raises(type(interrupt)):
        revised(dataset, {"new": NEW})
    monkeypatch.undo()
    assert list(Dataset(dataset.folder).card.features) == ["old"]
    assert dataset.damaged() == []
    assert left_over(dataset.folder) == []


def test_what_a_killed_process_left_is_cleared_away(dataset):
    (dataset.folder.parent / ".data.0123.partial").mkdir()
    revised(dataset, {"new": NEW})
    assert left_over(dataset.folder) == []


def test_folders_change_names_where_the_system_cannot_exchange_them(dataset, monkeypatch):
    monkeypatch.setattr(revision.ctypes, "CDLL", lambda *_, **__: object())
    found = revised(dataset, {"new": NEW})
    assert list(found.card.features) == ["old", "new"]
    assert left_over(dataset.folder) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": {"new": FeatureArray(np.ones((7, 2)), "")}}, "feature set `new`: 7 rows, expected 8"),
        ({"features": {"new": FeatureArray(np.full((8, 2), np.nan), "")}}, "feature set `new`: row 0 holds NaN"),
        ({"features": {}, "logits": np.ones((8, 3))}, r"logits are \(8, 3\), expected \(8, 4\)"),
    ],
)
def test_arrays_of_another_shape_are_refused(dataset, options, message):
    with pytest.raises(InputError, match=message):
        revised(dataset, **options)
    assert left_over(dataset.folder) == []


def test_two_do_not_write_at_once_and_nothing_is_written_over(dataset, tmp_path):
    handle = os.open(dataset.folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(InputError, match="another process is writing it"):
        revised(dataset, {"new": NEW})
    os.close(handle)
    with pytest.raises(InputError, match="exists already"):
        revised(dataset, {"new": NEW}, to=tmp_path)
