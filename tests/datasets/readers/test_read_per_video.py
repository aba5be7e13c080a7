import json

import numpy as np
import pytest

from platform.datasets.readers import ImportOptions, read
from platform.datasets.splits import published_class_lists
from platform.errors import InputError

HMDB51 = published_class_lists()["hmdb51"]["classes"]


@pytest.fixture
def folder(tmp_path):
    """Two classes of five videos each, whose features are the number of the video."""
    for label, name in enumerate(("Bow", "Clap")):
        (tmp_path / "features" / name).mkdir(parents=True)
        for i in range(5):
            np.save(tmp_path / "features" / name / f"v{i}.npy", np.full(3, 5 * label + i, np.float16))
    return tmp_path / "features"


def test_classes_are_the_folders_and_the_partition_is_drawn(folder):
    first, again = (read("per_video", folder, ImportOptions(seed=1)) for _ in range(2))
    first.check()
    assert [c.name for c in first.classes] == ["Bow", "Clap"]
    np.testing.assert_array_equal(first.features["features"].values[:, 0], np.arange(10))
    assert first.features["features"].values.dtype == np.float32
    assert np.bincount(first.labels[first.train]).tolist() == [4, 4]
    np.testing.assert_array_equal(first.train, again.train)
    assert first.ids[5] == "Clap/v0"
    assert (first.modality, first.class_list, first.notes) == ("video", None, [])
    assert "seed 1" in first.source


def test_one_row_is_taken_and_several_are_averaged(folder):
    np.save(folder / "Bow" / "v0.npy", np.array([[1.0, 2, 3]]))
    np.save(folder / "Bow" / "v1.npy", np.array([[1.0, 2, 3], [3, 4, 5]]))
    contents = read("per_video", folder, ImportOptions())
    assert contents.features["features"].values[:2].tolist() == [[1, 2, 3], [2, 3, 4]]
    assert contents.notes == ["1 videos of several clips, whose features are their mean: Bow/v1"]


def test_files_that_cannot_be_used_are_listed_and_left_out(folder):
    (folder / "Bow" / "v0.npy").write_bytes(b"no array")
    np.save(folder / "Bow" / "v1.npy", np.ones((2, 2, 2)))
    np.save(folder / "Bow" / "v2.npy", np.array([1, np.nan, 3]))
    np.save(folder / "Clap" / "v3.npy", np.array([{}], object))
    contents = read("per_video", folder, ImportOptions())
    contents.check()
    assert contents.ids == ["Bow/v3", "Bow/v4", "Clap/v0", "Clap/v1", "Clap/v2", "Clap/v4"]
    assert contents.features["features"].values[:, 0].tolist() == [3, 4, 5, 6, 7, 9]
    assert contents.notes == [
        "2 videos left out, whose file cannot be read as plain numbers: Bow/v0, Clap/v3",
        "1 videos left out, whose file is not (D,) or (T, D) numbers: Bow/v1",
        "1 videos left out, whose features hold NaN or infinity: Bow/v2",
    ]


def test_ucf101s_lists_are_the_partition(folder, tmp_path):
    (tmp_path / "train.txt").write_text("Clap/v0.avi 1\nBow/v0.avi 2\nBow/v9.avi 2\n")
    (tmp_path / "test.txt").write_text("Bow/V1.avi\nClap/v4.avi\n")
    options = ImportOptions(train_list=tmp_path / "train.txt", test_list=tmp_path / "test.txt")
    contents = read("per_video", folder, options)
    contents.check()
    assert [c.name for c in contents.classes] == ["Clap", "Bow"]  # as the labels count them
    assert contents.labels.tolist() == [0, 1, 1, 0]
    assert contents.train.tolist() == [True, True, False, False]
    assert contents.features["features"].values[:, 0].tolist() == [5, 0, 1, 9]
    assert contents.notes == ["1 videos left out, without a feature file: Bow/v9"]
    assert "partitions as the lists have them" in contents.source


def test_loose_files_need_a_list(folder, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for i in range(4):
        np.save(flat / f"v{i}.npy", np.full((1, 2), i))
    with pytest.raises(InputError, match=r"its files stand in no class folder; .* --video-list"):
        read("per_video", flat, ImportOptions())
    metas = [{"videoname": f"v{i}.mp4", "nframes": 8, "label": i % 2} for i in range(4)]
    (tmp_path / "metas.jsonl").write_text("\n".join(json.dumps(meta) for meta in metas))
    (tmp_path / "names.txt").write_text("bow\nclap\n")
    options = ImportOptions(video_list=tmp_path / "metas.jsonl", classes=tmp_path / "names.txt")
    contents = read("per_video", flat, options)
    contents.check()
    assert contents.labels.tolist() == [0, 1, 0, 1]
    (tmp_path / "listed.txt").write_text("Clap/v1.avi\nBow/v0.avi\n")
    contents = read("per_video", flat, ImportOptions(video_list=tmp_path / "listed.txt"))
    assert [c.name for c in contents.classes] == ["Bow", "Clap"]
    assert contents.features["features"].values[:, 0].tolist() == [1, 0]


def test_a_published_class_list_is_taken_by_itself(tmp_path):
    for i, name in enumerate(HMDB51):
        (tmp_path / name.replace(" ", "_")).mkdir()
        np.save(tmp_path / name.replace(" ", "_") / "v.npy", np.full(2, i))
    contents = read("per_video", tmp_path, ImportOptions())
    contents.check()
    assert contents.class_list == "hmdb51"
    assert [c.name for c in contents.classes] == HMDB51
    np.testing.assert_array_equal(contents.features["features"].values[:, 0], contents.labels)


def test_labels_without_names_follow_the_published_order_and_the_card_says_so(folder, tmp_path):
    (tmp_path / "metas.jsonl").write_text('{"videoname": "v0.mp4", "label": 3}')
    np.save(tmp_path / "v0.npy", np.ones(2))
    contents = read("per_video", tmp_path, ImportOptions(video_list=tmp_path / "metas.jsonl", class_list="hmdb51"))
    assert contents.classes[contents.labels[0]].name == "chew"
    assert "taken to count the class list in its published order" in contents.notes[0]


def _lists(train="Bow/v0.avi 1", test="Clap/v0.avi", **more):
    def options(folder):
        (folder / "train.txt").write_text(train)
        (folder / "test.txt").write_text(test)
        return ImportOptions(train_list=folder / "train.txt", test_list=folder / "test.txt", **more)

    return options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (lambda f: ImportOptions(train_list=f), "--train-list and --test-list go together"),
        (lambda f: ImportOptions(train_list=f, test_list=f, video_list=f), "--video-list: its partition is drawn"),
        (_lists(seed=1), "--seed does not apply"),
        (_lists(test="Bow/v0.avi"), "`Bow/v0` stands in the training list and in the test list"),
        (_lists(train="v0.avi 1"), "hold no class names: give them with --classes FILE"),
        (_lists(train="Bow/v8.avi", test="Bow/v9.avi"), "no readable features; 2 videos left out, without"),
        (lambda f: ImportOptions(class_list="ucf101"), "class `Bow` is none of the class list `ucf101`"),
        (lambda f: ImportOptions(modality="video"), "--modality does not apply to layout per_video"),
    ],
)
def test_what_does_not_fit_is_refused(folder, options, message):
    with pytest.raises(InputError, match=message):
        read("per_video", folder, options(folder))


def test_a_label_or_folder_outside_the_classes_is_refused(folder, tmp_path):
    (tmp_path / "names.txt").write_text("Bow\nWave\n")
    with pytest.raises(InputError, match="class `Clap` is none of the classes Bow, Wave"):
        read("per_video", folder, ImportOptions(classes=tmp_path / "names.txt"))
    (tmp_path / "list.txt").write_text("v0.avi 3\n")
    with pytest.raises(InputError, match="video `v0`: its label is outside the 2 classes"):
        read("per_video", folder, ImportOptions(classes=tmp_path / "names.txt", video_list=tmp_path / "list.txt"))


def test_features_of_two_extractors_are_refused(folder):
    np.save(folder / "Clap" / "v4.npy", np.ones(4))
    with pytest.raises(InputError, match=r"Clap/v4\.npy: 4 features, .*Bow/v0\.npy has 3; one extractor is expected"):
        read("per_video", folder, ImportOptions())
