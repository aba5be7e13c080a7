import numpy as np
import pytest

from platform.datasets.readers import ImportOptions, read
from platform.datasets.readers.partitions import draw_partition
from platform.datasets.trained_on import UNKNOWN
from platform.errors import InputError

NAMES = np.array(["bow", "clap", "drop"])
LABELS = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2])


@pytest.fixture
def plain(tmp_path):
    """Writes a file of the plain form with changes; returns its path."""

    def write(**changes):
        arrays = {"features": np.ones((11, 4), np.float16), "labels": LABELS, "classes": NAMES} | changes
        np.savez(tmp_path / "plain.npz", **{k: v for k, v in arrays.items() if v is not None})
        return tmp_path / "plain.npz"

    return write


@pytest.fixture
def parted(tmp_path):
    def write(**changes):
        arrays = {"x_train": np.zeros((3, 4)), "y_train": np.arange(3), "x_test": np.ones((2, 4)), "y_test": [2, 1]}
        np.savez(tmp_path / "parted.npz", **(arrays | changes))
        (tmp_path / "names.txt").write_text("\n".join(NAMES))
        return tmp_path / "parted.npz", ImportOptions(classes=tmp_path / "names.txt")

    return write


@pytest.mark.parametrize("form", [lambda y: y, lambda y: y[:, None], lambda y: np.eye(3)[y]])
def test_labels_are_read_in_each_form(parted, form):
    path, options = parted(y_train=form(np.arange(3)), y_test=form(np.array([2, 1])))
    contents = read("npz", path, options)
    contents.check()
    assert contents.labels.tolist() == [0, 1, 2, 2, 1]
    assert contents.train.tolist() == [True, True, True, False, False]
    assert contents.features["features"].values[:, 0].tolist() == [0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_train": np.zeros((3, 3, 50, 25, 2))}, r"`x_train`: shape .*extract features from raw data"),
        ({"x_test": np.zeros((2, 5))}, "x_train has 4 features, x_test 5"),
        ({"y_test": np.eye(4)[:2]}, "`y_test`: 4 columns, expected 3"),
        ({"y_test": np.ones((2, 3))}, "`y_test`: its rows are not one-hot"),
        ({"y_train": np.arange(4)}, "4 labels for 3 rows"),
        ({"y_train": np.array(["a", "b", "c"])}, "`y_train`: <U1 of shape"),
        ({"y_test": np.array([{}, {}], object)}, "holds more than plain arrays"),
    ],
)
def test_a_wrong_array_is_named(parted, changes, message):
    path, options = parted(**changes)
    with pytest.raises(InputError, match=message):
        read("npz", path, options)


def test_class_facts_partition_and_split_are_kept(plain):
    train = np.arange(11) % 2 == 0
    path = plain(attributes=np.eye(3), unseen=[2, 1], subjects=np.arange(11), train=train)
    contents = read("npz", path, ImportOptions(modality="video"))
    contents.check()
    assert contents.splits["official"].unseen == ["clap", "drop"]
    assert contents.classes[1].attributes == [0, 1, 0]
    np.testing.assert_array_equal(contents.train, train)
    np.testing.assert_array_equal(contents.groups, np.arange(11))
    assert contents.modality == "video"
    assert contents.features["features"].trained_on == UNKNOWN


def test_what_the_extractor_was_trained_on_is_for_the_user_to_say(plain):
    said = ImportOptions(trained_on_classes="seen:random:2:0", pretrained_on="none")
    trained_on = read("npz", plain(), said).features["features"].trained_on
    assert (len(trained_on.classes), trained_on.other) == (1, "none")


def test_without_a_partition_one_is_drawn_by_the_seed(plain):
    path = plain()
    first, again, other = (read("npz", path, ImportOptions(seed=s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.train, again.train)
    assert (first.train != other.train).any()
    assert np.bincount(first.labels[first.train]).tolist() == [4, 4, 1]
    assert "80 to 20 within each class, seed 1" in first.source


def test_a_drawn_partition_gives_every_class_a_training_sample():
    labels = np.random.default_rng(0).integers(0, 5, 1000)
    train = draw_partition(labels, seed=0)
    share = np.bincount(labels[train]) / np.bincount(labels)
    np.testing.assert_allclose(share, 0.8, atol=0.01)


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"classes": None}, ImportOptions(), "hold no class names"),
        ({"classes": np.arange(3)}, ImportOptions(), "`classes` is int64; expected text"),
        ({"unseen": [3]}, ImportOptions(), "`unseen`: label 3 is outside the 3 classes"),
        ({"attributes": np.eye(4)}, ImportOptions(), "`attributes`: 4 rows, expected 3"),
        ({"train": np.ones(11)}, ImportOptions(), "`train` is float64"),
        ({"train": np.ones(11, bool)}, ImportOptions(seed=1), "--seed does not apply"),
        ({"labels": LABELS + 1}, ImportOptions(), "label 3 is outside the 3 classes"),
        ({"features": None}, ImportOptions(), "expected x_train, y_train, x_test, y_test, or features and labels"),
    ],
)
def test_a_wrong_plain_file_is_refused(plain, changes, options, message):
    with pytest.raises(InputError, match=message):
        read("npz", plain(**changes), options)


def test_a_truncated_file_is_named(plain):
    path = plain()
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=r"plain\.npz: truncated, or no \.npz file"):
        read("npz", path, ImportOptions())


def test_options_of_other_layouts_and_unknown_layouts_are_refused(plain):
    path = plain()
    with pytest.raises(InputError, match="--locations does not apply to layout npz, which takes --name"):
        read("npz", path, ImportOptions(locations="use"))
    with pytest.raises(InputError, match="unknown layout `zip`; choose one of synse, xian, npz, ntu, pyskl"):
        read("zip", path, ImportOptions())
    with pytest.raises(InputError, match="class list `ntu60` has 60 classes, the data set 3"):
        read("npz", path, ImportOptions(class_list="ntu60"))
