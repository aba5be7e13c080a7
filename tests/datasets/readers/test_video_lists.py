import pytest

from platform.datasets.readers.video_lists import ListedVideo, read_video_list, video_name
from platform.errors import InputError


@pytest.mark.parametrize("file", ["a/v_1.avi", "a/v_1.npy", "a/v_1.MP4", "a/v_1.avi.npy", "a/v_1"])
def test_a_suffix_is_no_part_of_a_name(file):
    assert video_name(file) == "a/v_1"


def test_dots_within_a_name_are_kept():
    assert video_name("a/clip 0.5x.b") == "a/clip 0.5x.b"


def test_ucf101s_lists_are_read_with_and_without_labels(tmp_path):
    (tmp_path / "trainlist01.txt").write_text("Archery/v_A_g08_c01.avi 3\r\nTaiChi/v_T_g08_c01.avi 91\n\n")
    assert read_video_list(tmp_path / "trainlist01.txt") == [
        ListedVideo("Archery/v_A_g08_c01", "Archery", 2),
        ListedVideo("TaiChi/v_T_g08_c01", "TaiChi", 90),
    ]
    (tmp_path / "testlist01.txt").write_text("Archery/v A.avi\nbow/x.avi 0\nloose.avi 2\n")
    assert read_video_list(tmp_path / "testlist01.txt") == [
        ListedVideo("Archery/v A", "Archery", None),
        ListedVideo("bow/x", "bow", None),
        ListedVideo("loose", None, 1),
    ]


def test_metas_count_from_zero_or_name_the_class(tmp_path):
    path = tmp_path / "metas.jsonl"
    path.write_text('{"videoname": "--07.mp4", "nframes": 9, "label": 0}\n{"videoname": "b.mp4", "label": "bow"}\n')
    assert read_video_list(path) == [ListedVideo("--07", None, 0), ListedVideo("b", "bow", None)]


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("a.txt", "\n", "a.txt: names no video"),
        ("a.txt", "b/v.avi 1\nb/v.mp4 1\n", "`b/v` is listed twice"),
        ("a.txt", "v.avi 0\n", "line 1: label 0; labels count from 1"),
        ("a.jsonl", "{}\n", "line 1: expected {videoname, label}"),
        ("a.jsonl", "[1]\n", "line 1: expected {videoname, label}"),
        ("a.jsonl", "v.avi 1\n", "line 1: expected {videoname, label}"),
        ("a.jsonl", '{"videoname": "v", "label": 0.5}\n', "line 1: expected text as videoname"),
        ("a.jsonl", '{"videoname": "v", "label": -1}\n', "line 1: label -1; labels count from 0"),
    ],
)
def test_a_list_that_cannot_be_understood_is_refused(tmp_path, file, text, message):
    (tmp_path / file).write_text(text)
    with pytest.raises(InputError) as caught:
        read_video_list(tmp_path / file)
    assert message in str(caught.value)
