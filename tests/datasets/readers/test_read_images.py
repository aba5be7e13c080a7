import multiprocessing
import tempfile
import zipfile

import numpy as np
import pytest
from made_pictures import encoded, noise, picture, truncated_jpeg, write_classes

from platform.datasets.encoded_pictures import EncodedPictures
from platform.datasets.folder import Dataset, write_dataset
from platform.datasets.readers import ImportOptions, encoding, read
from platform.datasets.readers.squares import square
from platform.errors import InputError


@pytest.fixture
def folder(tmp_path):
    return write_classes(tmp_path / "pictures")


def zipped(folder, path, within=""):
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.rglob("*"):
            archive.write(file, within + file.relative_to(folder).as_posix())
    return path


def blues(contents):
    """The number of each picture, that is in its blue."""
    found = contents.features["pictures"].values.decoded()[:, 2, 0, 0]
    return (found / 10).round().int().tolist()  # JPEG may change a colour by a little


def keys(contents):
    pictures = contents.features["pictures"].values
    return [pictures.key(row) for row in range(len(pictures))]


def test_classes_are_the_folders_and_the_partition_is_drawn(folder):
    first, again = (read("images", folder, ImportOptions(seed=1, size=16)) for _ in range(2))
    first.check()
    assert [c.name for c in first.classes] == ["bow", "clap"]
    assert (first.name, first.modality, first.notes) == ("pictures", "image", [])
    assert first.ids[5] == "clap/p0.png"
    assert blues(first) == [0, 1, 2, 3, 4] * 2
    assert first.labels.tolist() == [0] * 5 + [1] * 5
    assert np.bincount(first.labels[first.train]).tolist() == [4, 4]
    np.testing.assert_array_equal(first.train, again.train)
    assert "seed 1" in first.source


@pytest.mark.parametrize("exact", [None, True])
def test_pictures_are_kept_encoded(folder, exact):
    found = read("images", folder, ImportOptions(size=16, exact=exact)).features["pictures"]
    assert (found.kind, found.side, found.frames, found.normalise) == ("pictures", 16, None, "none")
    assert (found.values.shape, found.values.exact) == ((10, 3, 16, 16), bool(exact))
    assert found.extractor.endswith("PNG (exact)" if exact else "JPEG quality 90")
    colour = found.values.decoded([7])[0, :, 3, 5].tolist()
    assert colour == pytest.approx([0, 50, 20], abs=0 if exact else 3)
    assert read("images", folder, ImportOptions()).features["pictures"].side == 256


def test_exact_pictures_are_what_the_square_of_the_file_is(tmp_path):
    (tmp_path / "p" / "bow").mkdir(parents=True)
    (tmp_path / "p" / "clap").mkdir()
    names = ["bow/a.png", "bow/b.png", "clap/a.jpg", "clap/b.jpg"]
    for number, name in enumerate(names):
        (tmp_path / "p" / name).write_bytes(encoded(noise(50, 40, number), name[-3:].replace("jpg", "jpeg")))
    exact, lossy = (
        read("images", tmp_path / "p", ImportOptions(size=32, exact=e)).features["pictures"] for e in (True, None)
    )
    expected = np.stack([square((tmp_path / "p" / name).read_bytes(), 32) for name in names])
    np.testing.assert_array_equal(exact.values.decoded().numpy(), expected)
    assert not np.array_equal(lossy.values.decoded().numpy(), expected)


def test_what_is_written_is_read_back_as_bytes(folder, tmp_path):
    contents = read("images", folder, ImportOptions(size=16))
    dataset, theirs = write_dataset(contents, tmp_path / "out"), contents.features["pictures"].values
    for opened in (dataset, Dataset(tmp_path / "out")):
        found = opened.features("pictures")
        assert isinstance(found, EncodedPictures)
        assert [found.encoded(row) for row in range(10)] == [theirs.encoded(row) for row in range(10)]
        facts = opened.card.features["pictures"]
        assert (facts.kind, facts.side, facts.frames, facts.dimension) == ("pictures", 16, None, 3 * 16 * 16)


@pytest.mark.parametrize("within", ["", "Data/", "a/b/"])
def test_an_archive_is_like_a_folder_whatever_stands_around(folder, tmp_path, within):
    path = zipped(folder, tmp_path / "pictures.zip", within)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("__MACOSX/bow/._p0.png", "metadata")
    plain, packed = (read("images", source, ImportOptions(size=16)) for source in (folder, path))
    assert packed.ids == plain.ids
    assert packed.name == "pictures"
    assert packed.notes == []
    assert keys(packed) == keys(plain)


@pytest.mark.slow
@pytest.mark.parametrize("archive", [False, True])
def test_workers_give_what_one_process_gives(folder, tmp_path, archive):
    (folder / "bow" / "broken.jpg").write_bytes(truncated_jpeg())
    source = zipped(folder, tmp_path / "p.zip") if archive else folder
    told = []
    alone, together = (
        read("images", source, ImportOptions(size=16, workers=n, report=lambda *done: told.append(done)))
        for n in (0, 2)
    )
    assert keys(together) == keys(alone)
    assert (together.ids, together.notes) == (alone.ids, alone.notes)
    assert told == [(i, 11) for i in range(1, 12)] * 2


@pytest.mark.slow
def test_a_worker_that_was_killed_is_told(tmp_path):
    folder = write_classes(tmp_path / "many", count=200)  # so many that some wait when the first are done

    def kill(done, total):
        for process in multiprocessing.active_children():
            process.kill()

    with pytest.raises(InputError, match="--workers 1: a process was killed, for want of memory perhaps"):
        read("images", folder, ImportOptions(size=16, workers=1, report=kill))


def test_files_that_are_no_pictures_are_listed_and_left_out(folder):
    (folder / "bow" / "p0.png").write_bytes(truncated_jpeg())
    (folder / "bow" / "text.jpg").write_text("no picture")
    (folder / "clap" / "Thumbs.db").write_bytes(b"")
    (folder / "clap" / ".hidden.jpg").write_bytes(b"")
    (folder / "cover.PNG").write_bytes(encoded(picture()))
    contents = read("images", folder, ImportOptions(size=16))
    contents.check()
    assert contents.ids[:5] == ["bow/p1.png", "bow/p2.png", "bow/p3.png", "bow/p4.png", "clap/p0.png"]
    assert blues(contents) == [1, 2, 3, 4, 0, 1, 2, 3, 4]
    assert contents.notes == [
        "1 files passed over, which are no pictures: clap/Thumbs.db",
        "1 files left out, which stand in no class folder: cover.PNG",
        "1 files left out (truncated or damaged): bow/p0.png",
        "1 files left out (no pictures, whatever their suffix): bow/text.jpg",
    ]


def test_a_damaged_member_of_an_archive_is_left_out(folder, tmp_path):
    path = tmp_path / "p.zip"
    with zipfile.ZipFile(path, "w") as archive:  # stored, so that the bytes can be found
        for file in sorted(folder.rglob("*.png")):
            archive.write(file, file.relative_to(folder).as_posix())
    content = (folder / "clap" / "p4.png").read_bytes()
    path.write_bytes(path.read_bytes().replace(content, bytes(len(content))))
    contents = read("images", path, ImportOptions(size=16))
    assert len(contents.ids) == 9
    assert contents.notes == ["1 files left out (cannot be opened): clap/p4.png"]


def test_lists_are_the_partition(folder, tmp_path):
    (tmp_path / "train.txt").write_text("clap/p0.png\nimages/bow/p3.png\n./bow/p1.png\nbow/p9.png\n")
    (tmp_path / "test.txt").write_text("clap\\p2.png\r\nbow/p0.png\n")
    options = ImportOptions(size=16, train_list=tmp_path / "train.txt", test_list=tmp_path / "test.txt")
    contents = read("images", folder, options)
    assert contents.ids == ["bow/p0.png", "bow/p1.png", "bow/p3.png", "clap/p0.png", "clap/p2.png"]
    assert contents.train.tolist() == [False, True, True, True, False]
    assert contents.notes == [
        "1 files listed, which are not there: bow/p9.png",
        "5 files left out, which stand in neither list: bow/p2.png, bow/p4.png, clap/p1.png, clap/p3.png, clap/p4.png",
    ]


def test_classes_may_stand_in_an_order_and_spelling_of_their_own(tmp_path):
    write_classes(tmp_path / "p", ("001.Black_footed_Albatross", "002.Crow"))
    (tmp_path / "names.txt").write_text("crow\nblack footed albatross\n")
    contents = read("images", tmp_path / "p", ImportOptions(size=16, classes=tmp_path / "names.txt"))
    assert [c.name for c in contents.classes] == ["crow", "black footed albatross"]
    assert contents.labels.tolist() == [1] * 5 + [0] * 5


def _spoil(*names):
    def spoil(folder):
        for name in names:
            (folder / name).write_bytes(b"")
        return ImportOptions(size=16)

    return spoil


def _lists(train, test, **more):
    def options(folder):
        (folder.parent / "train.txt").write_text(train)
        (folder.parent / "test.txt").write_text(test)
        return ImportOptions(train_list=folder.parent / "train.txt", test_list=folder.parent / "test.txt", **more)

    return options


def _classes(text):
    def options(folder):
        (folder.parent / "names.txt").write_text(text)
        return ImportOptions(size=16, classes=folder.parent / "names.txt")

    return options


def _deeper(folder):
    (folder / "clap" / "more").mkdir()
    (folder / "clap" / "more" / "p.png").write_bytes(encoded(picture()))
    return ImportOptions(size=16)


def _only_bow(folder):
    for path in (folder / "clap").iterdir():
        path.unlink()
    return ImportOptions(size=16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            _spoil(*(f"bow/p{i}.png" for i in range(5))),
            r"class `bow` has no readable picture; 5 files left out \(no pictures, .*: bow/p0.png",
        ),
        (
            _spoil(*(f"{name}/p{i}.png" for i in range(5) for name in ("bow", "clap"))),
            "no readable picture; 10 files left out",
        ),
        (_deeper, "`clap/more/p.png` stands deeper than others; expected CLASS/FILE.jpg"),
        (_only_bow, "its pictures stand in no class folders; expected CLASS/FILE.jpg"),
        (_classes("bow\nwave\n"), "class `clap` is none of the classes bow, wave"),
        (_classes("bow\nclap\nwave\n"), "class `wave` has no readable picture"),
        (lambda f: ImportOptions(train_list=f), "--train-list and --test-list go together"),
        (_lists("bow/p0.png", "clap/p0.png", seed=1), "--seed does not apply"),
        (_lists("bow/p0.png", "./bow/p0.png"), "`bow/p0.png` stands in the training list and in the test list"),
        (_lists("bow/p0.png\nbow/p0.png", "clap/p0.png"), "train.txt: `bow/p0.png` is listed twice"),
        (_lists("bow/p0.png", "x.png"), "test.txt: names no picture of .*pictures; it has bow/p0.png and others"),
        (_lists("bow/p0.png", " \n"), "test.txt: names no file"),
        (lambda f: ImportOptions(extractor="x"), "--extractor does not apply to layout images"),
    ],
)
def test_what_does_not_fit_is_refused(folder, options, message):
    with pytest.raises(InputError, match=message):
        read("images", folder, options(folder))


def test_a_folder_without_pictures_or_a_broken_archive_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: no picture in it or below it; \.jpg, \.jpeg, .* are expected"):
        read("images", tmp_path / "empty", ImportOptions())
    (tmp_path / "p.zip").write_bytes(b"PK\3\4 and so on")
    with pytest.raises(InputError, match=r"p\.zip: truncated, or neither a folder nor a zip archive"):
        read("images", tmp_path / "p.zip", ImportOptions())


def test_a_full_disk_is_one_line(folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(encoding.FramesWriter, "add", full)
    with pytest.raises(
        InputError, match="no room for 0 pictures; set TMPDIR to a folder with more room, or choose a s"
    ):
        read("images", folder, ImportOptions())


def test_nothing_is_left_in_the_folder_for_temporary_files(folder, tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    contents = read("images", folder, ImportOptions(size=16))
    assert list((tmp_path / "temporary").iterdir()) == []
    assert blues(contents)[9] == 4
