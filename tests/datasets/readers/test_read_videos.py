import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from made_videos import brightening, write_video

from platform.datasets.encoded_frames import EncodedFrames
from platform.datasets.folder import Dataset, write_dataset
from platform.datasets.readers import ImportOptions, encoding, read
from platform.errors import InputError

pytest.importorskip("av")


def small(**options):
    return ImportOptions(**{"frames": 3, "size": 32, "workers": 0, **options})


@pytest.fixture
def folder(tmp_path):
    """Two classes of three videos each: video i of class c is 24 · (3 c + i) darker or brighter than others."""
    for place, kind in enumerate(("PlayingPiano", "YoYo")):
        for i in range(3):
            video = np.broadcast_to(np.uint8(40 + 24 * (3 * place + i)), (6, 48, 64, 3))
            write_video(tmp_path / "videos" / kind / f"v{i}.avi", video)
    return tmp_path / "videos"


def shades(contents):
    """The number of each video, from the grey of its first frame."""
    return [
        round((float(x) - 40) / 24) for x in contents.features["frames"].values.decoded()[:, 0].float().mean((1, 2, 3))
    ]


def test_each_video_is_a_sample_of_its_folders_class(folder):
    contents = read("videos", folder, small(seed=1))
    contents.check()
    assert [c.name for c in contents.classes] == ["PlayingPiano", "YoYo"]
    assert (contents.name, contents.modality, contents.notes) == ("videos", "video", [])
    assert contents.ids == [f"{kind}/v{i}" for kind in ("PlayingPiano", "YoYo") for i in range(3)]
    assert contents.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert shades(contents) == [0, 1, 2, 3, 4, 5]
    assert contents.train.sum() == 4
    assert "seed 1" in contents.source
    found = contents.features["frames"]
    assert (found.kind, found.side, found.frames, found.normalise) == ("frames", 32, 3, "none")
    assert found.values.shape == (6, 3, 3, 32, 32)
    assert "3 frames evenly spaced over the whole video" in found.extractor


def test_what_is_written_is_read_back(folder, tmp_path):
    contents = read("videos", folder, small())
    written = write_dataset(contents, tmp_path / "out")
    for dataset in (written, Dataset(tmp_path / "out")):
        found, theirs = dataset.features(), contents.features["frames"].values
        assert isinstance(found, EncodedFrames)
        assert [found.key(i) for i in range(6)] == [theirs.key(i) for i in range(6)]
        card = dataset.card.features["frames"]
        assert (card.kind, card.side, card.frames, card.dimension) == ("frames", 32, 3, 3 * 3 * 32 * 32)
        assert dataset.damaged() == []


def test_frames_by_default_are_eight_of_224(folder):
    contents = read("videos", folder, ImportOptions(workers=0))
    assert contents.features["frames"].values.shape == (6, 8, 3, 224, 224)


def test_a_tall_or_wide_video_gives_its_middle(tmp_path):
    wide = np.zeros((2, 32, 96, 3), np.uint8)
    wide[:, :, 32:64] = 200
    for kind in ("a", "b"):
        write_video(tmp_path / "v" / kind / "wide.mp4", wide)
        write_video(tmp_path / "v" / kind / "tall.mp4", wide.transpose(0, 2, 1, 3))
    decoded = read("videos", tmp_path / "v", small(size=16)).features["frames"].values.decoded().float()
    assert (decoded[..., 4:-4, 4:-4] > 180).all()


def test_classes_may_be_spelled_otherwise(folder, tmp_path):
    (tmp_path / "names.txt").write_text("yo yo\nplaying piano\n")
    contents = read("videos", folder, small(classes=tmp_path / "names.txt"))
    assert [c.name for c in contents.classes] == ["yo yo", "playing piano"]
    assert contents.labels.tolist() == [1, 1, 1, 0, 0, 0]


def test_lists_are_the_partition(folder, tmp_path):
    (tmp_path / "train.txt").write_text("YoYo/v1.avi 2\nPlayingPiano/v0.avi 1\nYoYo/v9.avi 2\n")
    (tmp_path / "test.txt").write_text("PlayingPiano/v2.avi\n")
    lists = {"train_list": tmp_path / "train.txt", "test_list": tmp_path / "test.txt"}
    contents = read("videos", folder, small(**lists))
    assert contents.ids == ["YoYo/v1", "PlayingPiano/v0", "PlayingPiano/v2"]
    assert shades(contents) == [4, 0, 2]
    assert contents.train.tolist() == [True, True, False]
    assert contents.notes == ["1 videos left out, which are not there: YoYo/v9"]


def test_what_cannot_be_read_or_stands_elsewhere_is_listed(folder):
    (folder / "YoYo" / "v1.avi").write_bytes(b"no video")
    (folder / "YoYo" / "notes.txt").write_text("no video")
    (folder / "YoYo" / "._v2.avi").write_bytes(b"of a Mac")
    write_video(folder / "loose.mp4", brightening(2))
    contents = read("videos", folder, small())
    contents.check()
    assert contents.ids[3:] == ["YoYo/v0", "YoYo/v2"]
    assert shades(contents) == [0, 1, 2, 3, 5]
    assert contents.notes == [
        "1 files passed over, which are no videos: YoYo/notes.txt",
        "1 files left out, which stand elsewhere: loose.mp4",
        "1 videos left out, which cannot be read: YoYo/v1.avi (cannot be decoded (Invalid data found when processing "
        "input))",
    ]


def test_a_video_in_both_partitions_is_told(folder, tmp_path):
    (folder / "YoYo" / "v9.avi").write_bytes((folder / "YoYo" / "v0.avi").read_bytes())
    (tmp_path / "train.txt").write_text("YoYo/v0.avi\nPlayingPiano/v0.avi\n")
    (tmp_path / "test.txt").write_text("YoYo/v9.avi\nPlayingPiano/v1.avi\n")
    options = small(train_list=tmp_path / "train.txt", test_list=tmp_path / "test.txt")
    dataset = write_dataset(read("videos", folder, options), tmp_path / "out")
    assert dataset.card.notes == (
        "1 of 2 test samples are byte-identical to training samples (`frames`): they test what was trained on",
    )


@pytest.mark.slow
def test_workers_give_what_one_process_gives(folder):
    (folder / "YoYo" / "v1.avi").write_bytes(b"no video")
    told = []
    alone, together = (read("videos", folder, small(workers=n, report=lambda *done: told.append(done))) for n in (0, 2))
    theirs, ours = (c.features["frames"].values for c in (alone, together))
    assert [ours.key(i) for i in range(5)] == [theirs.key(i) for i in range(5)]
    assert (together.ids, together.notes) == (alone.ids, alone.notes)
    assert told == [(i, 6) for i in range(1, 7)] * 2


def _spoil(folder):
    for path in folder.glob("*/*.avi"):
        path.write_bytes(b"")
    return small()


def _twice(folder):
    write_video(folder / "YoYo" / "v0.mp4", brightening(2))
    return small()


def _no_folders(folder):
    for path in list(folder.glob("*/*.avi")):
        path.rename(folder / f"{path.parent.name}{path.name}")
    return small()


def _empty(folder):
    for path in folder.glob("*/*.avi"):
        path.unlink()
    return small()


def _classes(folder):
    (folder.parent / "names.txt").write_text("Archery\nYoYo\n")
    return small(classes=folder.parent / "names.txt")


def _listed(folder):
    (folder.parent / "list.txt").write_text("Archery/v1.avi\n")
    return small(video_list=folder.parent / "list.txt")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (_spoil, "no readable video; 6 videos left out, which cannot be read: PlayingPiano/v0.avi"),
        (_twice, r"YoYo: `v0\.avi` and `v0\.mp4` differ in their suffix alone; keep one of them"),
        (_no_folders, "its files stand in no class folder; say which video is of which class with --video-list"),
        (_empty, r"no CLASS/VIDEO\.avi \(or \.mp4, .*\); say which"),
        (_classes, "class `PlayingPiano` is none of the classes Archery, YoYo"),
        (_listed, "no video of the lists stands below it; 1 videos left out, which are not there: Archery/v1"),
        (lambda _: small(train_list=Path("a.txt")), "--train-list and --test-list go together"),
        (lambda _: small(extractor="x"), "--extractor does not apply to layout videos"),
    ],
)
def test_what_does_not_fit_is_refused(folder, options, message):
    with pytest.raises(InputError, match=message):
        read("videos", folder, options(folder))


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "v.avi").write_bytes(b"")
    with pytest.raises(InputError, match=r"v\.avi: expected a folder of videos, CLASS/VIDEO\.avi"):
        read("videos", tmp_path / "v.avi", small())


def test_frames_are_of_videos_alone(folder):
    with pytest.raises(InputError, match="--frames does not apply to layout per_video"):
        read("per_video", folder, small(size=None, workers=None))


def test_the_missing_extra_is_one_line(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r"videos need the Python module `av` .*; install the extra video"):
        read("videos", folder, small())


def test_nothing_is_left_in_the_folder_for_temporary_files(folder, tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    contents = read("videos", folder, small())
    assert list((tmp_path / "temporary").iterdir()) == []
    assert shades(contents) == [0, 1, 2, 3, 4, 5]


def test_a_full_disk_is_one_line(folder, monkeypatch):
    class Full:
        def __call__(self, *_):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(encoding.FramesWriter, "add", Full())
    with pytest.raises(InputError, match="no room for 0 videos; set TMPDIR to a folder with more room"):
        read("videos", folder, small())
