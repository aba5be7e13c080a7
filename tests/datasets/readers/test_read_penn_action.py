import numpy as np
import pytest
from clip_files import penn_mat, write_members, write_penn

from platform.data import app
from platform.datasets.folder import Dataset, write_dataset
from platform.datasets.poses import pose_descriptor
from platform.datasets.readers import ImportOptions, read
from platform.errors import InputError


def read_penn(source):
    contents = read("penn_action", source, ImportOptions())
    contents.check()
    return contents


@pytest.mark.parametrize("packed", [False, True])
def test_clips_are_read_without_features(tmp_path, packed):
    clips = {"0001": penn_mat(frames=3), "0002": penn_mat("tennis_serve", train=-1, frames=5)}
    contents = read_penn(write_penn(tmp_path / "penn", clips, packed))
    assert (contents.ids, contents.labels.tolist()) == (["0001", "0002"], [0, 14])
    assert (contents.train.tolist(), contents.groups, dict(contents.features)) == ([True, False], None, {})
    clip = contents.skeletons.clips[1]
    assert (contents.skeletons.layout, clip.shape) == ("penn_13", (5, 1, 13, 3))
    assert set(np.unique(clip[..., 2])) == {0, 1}
    assert clip[..., :2].max() > 10


def test_what_needs_features_says_that_there_are_none(tmp_path):
    dataset = write_dataset(read_penn(write_penn(tmp_path / "penn", {"0001": penn_mat()})), tmp_path / "out")
    assert Dataset(tmp_path / "out").card.features == {}
    for name in (None, "pose"):
        with pytest.raises(InputError, match="out: holds skeletons and no features yet; extract features"):
            dataset.features(name)
    with pytest.raises(
        InputError, match="no pose descriptor for layout penn_13: it needs joints in space, as kinect_v1"
    ):
        pose_descriptor(dataset.skeleton(0)[:, 0], dataset.card.skeletons)


def test_an_import_says_what_comes_next(tmp_path):
    from typer.testing import CliRunner

    folder = write_penn(tmp_path / "penn", {"0001": penn_mat(), "0002": penn_mat(frames=1)})
    result = CliRunner().invoke(app, ["import", "penn_action", str(folder), str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "1 clip of a single frame" in result.stdout
    assert result.stdout.rstrip().splitlines()[-1].startswith("Next: extract features")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"nothing", "truncated, or no MATLAB file"),
        (penn_mat()[:300], "truncated, or no MATLAB file"),
        (penn_mat(train=None), "no `train`"),
        (penn_mat("juggle"), "unknown action `juggle`; Penn Action has baseball pitch"),
        (penn_mat(train=3), r"train is \[3\]; expected 1 or -1"),
        (penn_mat(x=np.ones((3, 12))), r"x is float64 \(3, 12\); expected \(frames, 13\)"),
        (penn_mat(visibility=np.ones((4, 13))), "visibility has 4 frames, x has 3"),
        (penn_mat(y="text"), "y is <U4"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path, content, message):
    with pytest.raises(InputError, match=rf"`labels/0001\.mat`: {message}") as caught:
        read_penn(write_penn(tmp_path / "penn", {"0001": content}))
    assert "\n" not in str(caught.value)


def test_names_that_are_none_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"`labels/a1\.mat` is no clip of Penn Action; a name is like 0001\.mat"):
        read_penn(write_penn(tmp_path / "penn", {"a1": penn_mat()}))
    with pytest.raises(InputError, match=r"no file like 0001\.mat"):
        read_penn(write_members(tmp_path / "frames", {"0001/000001.jpg": b""}, packed=False))
