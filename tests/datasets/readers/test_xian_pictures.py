import numpy as np
import pytest
from made_pictures import encoded, picture, truncated_jpeg
from scipy.io import savemat

from platform.datasets.readers import ImportOptions, read
from platform.datasets.trained_on import NOT_TRAINED
from platform.errors import InputError

NAMES = ["002.owl", "001.gull", "004.crow", "003.wren"]  # label order, which is not the order of the ids
LABELS = np.repeat(np.arange(4), 4)
_THEIRS = "/elsewhere/CUB_200_2011/images"


def cells(values):
    array = np.empty((len(values), 1), object)
    array[:, 0] = values
    return array


def write_features(folder, **arrays):
    paths = [f"{_THEIRS}/{NAMES[label]}/p{i % 4}.jpg" for i, label in enumerate(LABELS)]
    whole = {"image_files": cells(paths), "labels": LABELS[:, None] + 1, **arrays}
    savemat(folder / "res101.mat", {name: values for name, values in whole.items() if values is not None})


@pytest.fixture
def folder(tmp_path):
    """Four classes of four pictures; the blue of a picture is its number, ten times."""
    unseen = (5, 6, 7, 8, 13, 14, 15, 16)
    positions = {"trainval_loc": (1, 2, 3, 9, 10, 11), "test_seen_loc": (4, 12), "test_unseen_loc": unseen}
    tables = {key: np.array(v, np.uint16)[:, None] for key, v in positions.items()}
    savemat(tmp_path / "att_splits.mat", {"allclasses_names": cells(NAMES), "att": np.eye(4), **tables})
    write_features(tmp_path, features=np.arange(16.0)[None].repeat(2, axis=0))
    for i, label in enumerate(LABELS):
        path = tmp_path / "images" / NAMES[label] / f"p{i % 4}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(picture((0, 0, 10 * i)), "PNG"))
    return tmp_path


def numbers(contents):
    found = contents.features["pictures"].values.decoded()[:, 2, 0, 0]
    return (found / 10).round().int().tolist()  # JPEG may change a colour by a little


def with_pictures(folder, images="images", **more):
    return read("xian", folder, ImportOptions(images=folder / images, size=16, **more))


@pytest.mark.parametrize("images", ["images", "."])
def test_pictures_stand_beside_the_features_in_the_files_order(folder, images):
    contents = with_pictures(folder, images)
    contents.check()
    assert list(contents.features) == ["res101", "pictures"]
    assert numbers(contents) == contents.features["res101"].values[:, 0].tolist() == list(range(16))
    assert np.flatnonzero(contents.train).tolist() == [0, 1, 2, 8, 9, 10]
    assert contents.ids[4].endswith("001.gull/p0.jpg")
    assert contents.splits["proposed"].unseen == ["001.gull", "003.wren"]
    said = with_pictures(folder, images, pretrained_on="none").features
    assert (said["res101"].trained_on.other, said["pictures"].trained_on) == ("none", NOT_TRAINED)
    assert contents.source.endswith(f"pictures of {(folder / images).name}")


def test_without_features_the_pictures_are_the_first_set(folder):
    write_features(folder)
    contents = with_pictures(folder)
    contents.check()
    assert list(contents.features) == ["pictures"]
    assert numbers(contents) == list(range(16))


def test_samples_without_a_readable_picture_are_in_no_partition(folder):
    (folder / "images" / "002.owl" / "p1.jpg").unlink()
    (folder / "images" / "001.gull" / "p2.jpg").write_bytes(truncated_jpeg())
    contents = with_pictures(folder)
    contents.check()
    left = [i for i in range(16) if i not in (1, 6)]
    assert numbers(contents) == contents.features["res101"].values[:, 0].tolist() == left
    assert contents.labels.tolist() == LABELS[left].tolist()
    assert np.array(left)[contents.train].tolist() == [0, 2, 8, 9, 10]
    assert contents.notes == [
        f"1 pictures left out, which are not there: {_THEIRS}/002.owl/p1.jpg",
        "1 pictures left out (truncated or damaged): 001.gull/p2.jpg",
    ]


def test_a_partition_may_be_drawn_for_pictures_too(folder):
    contents = with_pictures(folder, locations="ignore", seed=2)
    assert contents.train.sum() == 12
    assert numbers(contents) == list(range(16))


def test_parts_of_one_picture_have_no_ids_of_their_own(folder):
    write_features(folder, image_files=cells([f"{_THEIRS}/{NAMES[label]}/p0.jpg" for label in LABELS]))
    contents = with_pictures(folder)
    contents.check()
    assert contents.ids is None
    assert numbers(contents)[:5] == [0, 0, 0, 0, 4]


def _lose_a_class(folder):
    for path in (folder / "images" / "003.wren").iterdir():
        path.unlink()


def _elsewhere(folder):
    for path in list((folder / "images").iterdir()):
        path.rename(path.with_name(f"{path.name}-old"))
    (folder / "images" / "001.gull-old").rename(folder / "gull")  # so that the first by name is the owl's


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_lose_a_class, r"class `003\.wren` has no readable picture; 4 pictures left out, which are not there"),
        (_elsewhere, "it has `002.owl-old/p0.jpg`, but no end of the path /elsewhere"),
        (lambda f: write_features(f, image_files=None), r"res101\.mat: no `image_files`; it holds labels"),
        (lambda f: write_features(f, labels=np.ones((3, 1))), "3 labels for 16 rows"),
        (lambda f: write_features(f, features=np.ones((2, 5))), "`features`: 5 rows, expected 16"),
    ],
)
def test_what_does_not_fit_is_refused(folder, damage, message):
    damage(folder)
    with pytest.raises(InputError, match=message):
        with_pictures(folder)


def test_options_of_pictures_need_pictures(folder):
    with pytest.raises(InputError, match="--size is of pictures: give --images too"):
        read("xian", folder, ImportOptions(size=16))
    with pytest.raises(InputError, match="pictures: no such file or folder"):
        with_pictures(folder, images="pictures")
    with pytest.raises(InputError, match="--exact is of pictures: give --images too"):
        read("xian", folder, ImportOptions(exact=True))
    with pytest.raises(InputError, match="--workers is of pictures: give --images too"):
        read("xian", folder, ImportOptions(workers=1))
    np.savez(folder / "own.npz", features=np.ones((16, 2)), labels=LABELS)
    with pytest.raises(InputError, match=r"own\.npz: says no `image_files`, which --images needs"):
        with_pictures(folder, features=folder / "own.npz")
