import numpy as np
import pytest

from platform.errors import InputError
from platform.features.videos.data_folder import check_folders, read_training_list, write_videos
from platform.features.videos.extraction import Extracted, feature_path

VIDEOS = ["Bow/a.avi", "Bow/b.avi", "Clap/a b.avi", "Clap/b.avi"]
RECORD = {
    "network": "Inception-I3D",
    "weights": {"rgb": {"file": "rgb.pt", "sha256": 64 * "0"}},
    "flow": "none",
    "frames": 250,
    "rate": 25,
}


@pytest.fixture
def extracted(tmp_path):
    for number, video in enumerate(VIDEOS):
        path = feature_path(tmp_path / "out", video)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.full(6, number, np.float32))
    return Extracted(tmp_path / "out", VIDEOS, {"Bow/c.avi": "why", "Zip/a.avi": "why"}, RECORD)


def test_a_folder_of_drawn_partition(extracted, tmp_path):
    dataset = write_videos(extracted, tmp_path / "data", "few", seed=3)
    assert list(dataset.class_names) == ["Bow", "Clap"]
    assert dataset.labels.tolist() == [0, 0, 1, 1]
    assert dataset.ids.to_pylist() == VIDEOS
    assert (dataset.card.modality, dataset.card.name) == ("video", "few")
    np.testing.assert_array_equal(dataset.features("i3d")[:, 0], [0, 1, 2, 3])
    extractor = dataset.card.features["i3d"].extractor
    assert "rgb weights rgb.pt (000000000000); 250 centre frames at 25 a second" in extractor
    assert list(dataset.card.notes) == [
        "train and test partitions drawn here, 80 to 20 within each class, seed 3",
        "2 videos that cannot be read left out",
        "class Zip left out: none of its videos can be read",
    ]


def test_a_listed_partition_is_the_one_that_is_written(extracted, tmp_path):
    listed = tmp_path / "trainlist01.txt"
    listed.write_text("Bow/b.avi 1\nClap/a b.avi 2\n\nBow/c.avi 1\n")
    training = read_training_list(listed, [*VIDEOS, *extracted.unreadable])
    assert training == {"Bow/b.avi", "Clap/a b.avi", "Bow/c.avi"}
    dataset = write_videos(extracted, tmp_path / "data", "few", training)
    assert dataset.train.tolist() == [False, True, True, False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Bow/a.avi 1\nBow/z.avi 1\n", "line 2: `Bow/z.avi` is no video below FOLDER"),
        ("\n", "lists no video; expected one relative path a line"),
    ],
)
def test_a_wrong_list_is_one_line(tmp_path, text, message):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        read_training_list(tmp_path / "list.txt", VIDEOS)


def test_classes_are_folders():
    with pytest.raises(InputError, match=r"`a\.avi` stands in no class's folder; expected FOLDER/CLASS/VIDEO"):
        check_folders(["a.avi", *VIDEOS])
    with pytest.raises(InputError, match="all videos are of class `Bow`; at least two are needed"):
        check_folders(VIDEOS[:2])


def test_nothing_readable_is_no_data_folder(tmp_path):
    with pytest.raises(InputError, match="no video could be read"):
        write_videos(Extracted(tmp_path, [], {"a/b.avi": "why"}, RECORD), tmp_path / "data", "few")
