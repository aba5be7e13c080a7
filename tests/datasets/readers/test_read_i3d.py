import numpy as np
import pytest
from scipy.io import savemat

from platform.datasets.readers import ImportOptions, read
from platform.datasets.splits import published_class_lists
from platform.errors import InputError

NAMES = ["Wave", "Jump", "Sit", "Run"]
LABELS = np.repeat([0, 1, 2, 3], 4)
TRAIN = np.tile([True, True, True, False], 4)  # three of each class's four samples


def cells(values):
    array = np.empty((len(values), 1), object)
    array[:, 0] = values
    return array


def write_split(folder, number, unseen, train=TRAIN, names=NAMES, **changes):
    hidden = np.isin(LABELS, unseen)
    tables = {
        "att": np.arange(8.0).reshape(2, 4),
        "allclasses_names": cells(names),
        "trainval_loc": np.flatnonzero(train & ~hidden)[:, None] + 1,
        "test_seen_loc": np.flatnonzero(~train & ~hidden)[:, None] + 1,
        "test_unseen_loc": np.flatnonzero(hidden)[:, None] + 1,
    } | changes
    (folder / f"split_{number}").mkdir(exist_ok=True)
    kept = {key: value for key, value in tables.items() if value is not None}
    savemat(folder / f"split_{number}" / "att_splits.mat", kept)


@pytest.fixture
def folder(tmp_path):
    """Two splits with one partition: Sit is unseen in both, Run in the first alone, Jump in the second."""
    features = np.arange(16.0, dtype=np.float32)[None].repeat(3, axis=0)
    videos = cells([f"v{i}.avi" for i in range(16)])
    savemat(tmp_path / "i3d.mat", {"features": features, "labels": LABELS[:, None] + 1, "video_names": videos})
    write_split(tmp_path, 2, [1, 2])
    write_split(tmp_path, 10, [2, 3])
    return tmp_path


def test_every_split_becomes_a_class_split_of_one_partition(folder):
    contents = read("i3d", folder, ImportOptions())
    contents.check()
    assert list(contents.splits) == ["split_2", "split_10"]
    assert [s.unseen for s in contents.splits.values()] == [["Jump", "Sit"], ["Sit", "Run"]]
    np.testing.assert_array_equal(contents.labels, LABELS)
    np.testing.assert_array_equal(contents.train, TRAIN & (LABELS != 2))
    assert contents.classes[1].attributes == [1, 5]
    assert contents.features["i3d"].values[5].tolist() == [5, 5, 5]
    assert contents.features["i3d"].trained_on.other == ("Kinetics-400",)
    assert contents.ids[3] == "v3.avi"
    assert "partitions as all splits have them" in contents.source
    assert "trains on up to 3 where another split has their class seen" in contents.notes[0]


def test_the_features_are_not_copied(folder):
    values = read("i3d", folder, ImportOptions()).features["i3d"].values
    assert values.base is not None
    assert values.flags.c_contiguous  # so that they are written as they stand in memory


def test_samples_in_no_list_are_left_out(folder):
    for number, unseen in ((2, [1, 2]), (10, [2, 3])):
        write_split(folder, number, unseen, test_seen_loc=np.array([[4]]))
    contents = read("i3d", folder, ImportOptions())
    contents.check()
    assert len(contents.labels) == 16
    write_split(folder, 10, [1, 2], test_seen_loc=np.array([[4]]))
    contents = read("i3d", folder, ImportOptions())
    contents.check()
    assert contents.features["i3d"].values[:, 0].tolist() == list(range(15))
    assert contents.ids[-1] == "v14.avi"
    assert contents.notes == ["1 samples that stand in no list left out"]


def test_one_split_alone_has_its_published_partition(folder):
    contents = read("i3d", folder, ImportOptions(partition="split_10"))
    assert list(contents.splits) == ["split_10"]
    np.testing.assert_array_equal(contents.train, TRAIN & (LABELS < 2))
    assert contents.notes == []
    with pytest.raises(InputError, match=r"--partition split_1: .* has no such split; it has split_2, split_10"):
        read("i3d", folder, ImportOptions(partition="split_1"))


def test_where_the_splits_differ_the_partition_is_drawn(folder):
    with pytest.raises(InputError, match="--seed does not apply: the splits agree"):
        read("i3d", folder, ImportOptions(seed=1))
    write_split(folder, 3, [1], train=np.roll(TRAIN, 1))
    first, again, other = (read("i3d", folder, ImportOptions(seed=seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.train, again.train)
    assert (first.train != other.train).any()
    assert np.bincount(LABELS[first.train]).tolist() == [3, 3, 3, 3]
    assert "the splits differ in their partitions; train and test partitions drawn here" in first.source


def test_validation_classes_become_pseudo_unseen(folder):
    write_split(folder, 2, [1, 2], train_loc=np.arange(1, 4)[:, None], val_loc=np.arange(13, 16)[:, None])
    write_split(folder, 10, [2, 3], train_loc=np.array([[1]]), val_loc=np.array([[2]]))  # samples, not classes
    splits = read("i3d", folder, ImportOptions()).splits
    assert splits["split_2"].pseudo_unseen == [["Run"]]
    assert splits["split_10"].pseudo_unseen == []


def test_names_that_the_file_lacks_are_given(folder):
    for number, unseen in ((2, [1, 2]), (10, [2, 3])):
        write_split(folder, number, unseen, allclasses_names=None)
    with pytest.raises(InputError, match="hold no class names: give them with --classes FILE"):
        read("i3d", folder, ImportOptions())
    (folder / "names.txt").write_text("\n".join(NAMES))
    contents = read("i3d", folder, ImportOptions(classes=folder / "names.txt"))
    assert contents.splits["split_2"].unseen == ["Jump", "Sit"]


def test_a_published_class_list_is_found_by_its_names(tmp_path):
    known = published_class_lists()["olympic16"]["classes"]
    labels = np.arange(16).repeat(2)
    savemat(tmp_path / "i3d.mat", {"features": np.ones((2, 32)), "labels": labels[:, None] + 1})
    theirs = [name.title().replace(" ", "") for name in reversed(known)]
    write_split(
        tmp_path,
        1,
        [],
        names=theirs,
        att=np.arange(16.0)[None],
        trainval_loc=np.arange(1, 30)[:, None],
        test_seen_loc=np.array([[30]]),
        test_unseen_loc=np.array([[31], [32]]),
    )
    contents = read("i3d", tmp_path, ImportOptions())
    contents.check()
    assert contents.class_list == "olympic16"
    assert [c.name for c in contents.classes] == known
    assert contents.splits["split_1"].unseen == ["basketball layup"]
    np.testing.assert_array_equal(contents.labels, 15 - labels)
    assert contents.classes[0].attributes == [15]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"att": np.ones((2, 4))}, r"split_3.*its `att` differs from that of split_2.*--partition split_3"),
        ({"names": ["Wave", "Jump", "Sit", "Fly"]}, "split_3/att_splits.mat: its `allclasses_names` differ"),
        ({"test_seen_loc": np.array([[17]])}, r"not in the order that .*split_3.*positions run from 1 to 17"),
        ({"test_seen_loc": np.array([[5]])}, r"not in the order that .*split_3.*more than one list"),
        ({"att": None}, "split_3/att_splits.mat: no `att`"),
        ({"trainval_loc": None}, "it holds no `trainval_loc`"),
    ],
)
def test_a_split_that_does_not_fit_is_named(folder, changes, message):
    write_split(folder, 3, [1, 2], **changes)
    with pytest.raises(InputError, match=message):
        read("i3d", folder, ImportOptions())


def test_a_folder_without_splits_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no split_1/att_splits\.mat; expected a folder split_K a class split"):
        read("i3d", tmp_path, ImportOptions())
