import zipfile
from io import BytesIO
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from platform.datasets.readers import ImportOptions, read, utd_mhad
from platform.datasets.trained_on import NOT_TRAINED
from platform.errors import InputError

WITHDRAWN = {(8, 1, 4), (23, 6, 4), (27, 8, 4)}
CLIPS = [key for key in product(range(1, 28), range(1, 9), range(1, 5)) if key not in WITHDRAWN]


def file_name(key):
    return "a{}_s{}_t{}_skeleton.mat".format(*key)


def mat(joints):
    file = BytesIO()
    savemat(file, {"d_skel": joints})
    return file.getvalue()


def content(key):
    """Two frames, (20, 3, 2), in which action, subject and trial can be found again."""
    joints = np.zeros((20, 3, 2))
    joints[0, :, 0] = key
    return mat(joints)


@pytest.fixture(scope="module")
def members():
    """The makers' files in order of their names, small."""
    return {f"Skeleton/{name}": content(key) for name, key in sorted((file_name(k), k) for k in CLIPS)}


def write_archive(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def write_features(path, keys):
    actions, subjects = np.array([k[0] for k in keys]), np.array([k[1] for k in keys])
    n = len(keys)
    np.savez(path, f=np.arange(n, dtype=np.float32)[:, None], l=np.ones((n, 60), np.float32), y=actions, s=subjects)
    return path


@pytest.fixture(autouse=True)
def _cheap_pose_descriptor(monkeypatch):
    """The first joint of the first frame; the descriptor proper has its own tests."""
    monkeypatch.setattr(utd_mhad, "pose_descriptors", lambda clips, layout: np.stack([c[0, 0] for c in clips]))


def check_clips(contents):
    contents.check()
    assert len(contents.labels) == 861
    described = contents.features["pose"].values  # action, subject and trial of each clip
    np.testing.assert_array_equal(contents.labels, described[:, 0] - 1)
    np.testing.assert_array_equal(contents.groups, described[:, 1])
    np.testing.assert_array_equal(contents.train, described[:, 1] % 2 == 1)
    assert contents.ids[5] == "a{:.0f}_s{:.0f}_t{:.0f}".format(*described[5])
    assert contents.skeletons.clips[5].shape == (2, 1, 20, 3)
    assert contents.skeletons.clips[5].dtype == np.float32


def test_the_archive_gives_skeletons_and_poses(tmp_path, members):
    contents = read("utd_mhad", write_archive(tmp_path / "Skeleton.zip", members), ImportOptions())
    check_clips(contents)
    assert contents.features["pose"].normalise == "standard"
    assert contents.classes[4].name == "right arm throw"
    assert contents.class_list == "utd_mhad"


def test_the_unpacked_folder_gives_the_same(tmp_path, members):
    (tmp_path / "Skeleton").mkdir()
    for name, data in members.items():
        (tmp_path / name).write_bytes(data)
    check_clips(read("utd_mhad", tmp_path, ImportOptions()))
    check_clips(read("utd_mhad", tmp_path / "Skeleton", ImportOptions()))


def test_ready_features_alone(tmp_path):
    contents = read("utd_mhad", write_features(tmp_path / "utd_shiftgcn.npz", CLIPS), ImportOptions())
    contents.check()
    assert list(contents.features) == ["shiftgcn", "ntu60_logits"]
    assert contents.logits is None
    assert contents.ids is None
    assert contents.train.tolist() == [subject % 2 == 1 for _, subject, _ in CLIPS]


@pytest.mark.parametrize("order", ["by name", "by number", "of the archive"])
def test_features_and_skeletons_stand_side_by_side_where_their_rows_match(tmp_path, members, order):
    archived = dict(reversed(members.items()))
    keys = {
        "by name": sorted(CLIPS, key=file_name),
        "by number": CLIPS,
        "of the archive": sorted(CLIPS, key=file_name, reverse=True),
    }[order]
    write_archive(tmp_path / "Skeleton.zip", archived)
    write_features(tmp_path / "utd_shiftgcn.npz", keys)
    contents = read("utd_mhad", tmp_path, ImportOptions())
    check_clips(contents)
    assert list(contents.features) == ["shiftgcn", "ntu60_logits", "pose"]
    trained_on = {name: feature_set.trained_on for name, feature_set in contents.features.items()}
    assert trained_on["shiftgcn"] == trained_on["ntu60_logits"]
    assert (trained_on["shiftgcn"].classes, trained_on["shiftgcn"].other) == ("none", ("ntu60",))
    assert trained_on["pose"] == NOT_TRAINED
    assert contents.features["shiftgcn"].values[:, 0].tolist() == list(range(861))
    assert contents.ids[0] == file_name(keys[0]).removesuffix("_skeleton.mat")


def test_features_in_an_unknown_order_are_refused(tmp_path, members):
    write_archive(tmp_path / "Skeleton.zip", members)
    shuffled = [CLIPS[i] for i in np.random.default_rng(0).permutation(len(CLIPS))]
    write_features(tmp_path / "utd_shiftgcn.npz", shuffled)
    with pytest.raises(InputError, match=r"utd_shiftgcn\.npz: its rows .* cannot be matched"):
        read("utd_mhad", tmp_path, ImportOptions())


@pytest.mark.parametrize(
    ("member", "data", "message"),
    [
        ("Skeleton/a3_s2_t1_skeleton.mat", None, r"Skeleton\.zip: `a3_s2_t1_skeleton\.mat` is missing, one of 1"),
        ("Skeleton/a3_s2_t1_skeleton.mat", b"nothing", r"`Skeleton/a3_s2_t1_skeleton\.mat`: truncated"),
        ("Skeleton/a3_s2_t1_skeleton.mat", mat(np.ones((25, 3, 2))), r"d_skel is \(25, 3, 2\); expected \(20, 3, fram"),
        ("Skeleton/a28_s1_t1_skeleton.mat", content((1, 1, 1)), r"a28_s1_t1_skeleton\.mat` is no clip of UTD-MHAD"),
    ],
    ids=["missing", "corrupt", "shape", "unknown"],
)
def test_a_wrong_member_is_named(tmp_path, members, member, data, message):
    changed = {k: v for k, v in members.items() if k != member} | ({} if data is None else {member: data})
    with pytest.raises(InputError, match=message):
        read("utd_mhad", write_archive(tmp_path / "Skeleton.zip", changed), ImportOptions())


def test_a_member_with_a_wrong_checksum_is_named(tmp_path, members):
    path = write_archive(tmp_path / "Skeleton.zip", members)
    damaged = bytearray(path.read_bytes())
    start = damaged.index(b"Skeleton/a10_s1_t2_skeleton.mat")
    damaged[start + 200] ^= 0xFF
    path.write_bytes(bytes(damaged))
    with pytest.raises(InputError, match=r"`Skeleton/a10_s1_t2_skeleton\.mat` is corrupt"):
        read("utd_mhad", path, ImportOptions())


def test_a_truncated_archive_is_named(tmp_path, members):
    path = write_archive(tmp_path / "Skeleton.zip", members)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputError, match=r"Skeleton\.zip: truncated, or no zip archive"):
        read("utd_mhad", path, ImportOptions())


def test_a_folder_of_something_else_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"neither Skeleton\.zip, nor the \.mat files it holds, nor utd_shiftgcn\.npz"):
        read("utd_mhad", tmp_path, ImportOptions())
