import numpy as np
import pytest
from scipy.io import savemat

from platform.datasets.readers import ImportOptions, read
from platform.datasets.trained_on import UNKNOWN
from platform.errors import InputError

NAMES = ["012.owl", "003.wren", "007.crow", "001.gull"]  # label order, which is not the order of the ids
LABELS = np.repeat([0, 1, 2, 3], 4)
UNSEEN = [1, 3]


def locations(trainval=(1, 2, 3, 9, 10, 11), test_seen=(4, 12), test_unseen=(5, 6, 7, 8, 13, 14, 15, 16)):
    values = {"trainval_loc": trainval, "test_seen_loc": test_seen, "test_unseen_loc": test_unseen}
    return {key: np.array(v, np.uint16)[:, None] for key, v in values.items()}


def write_splits(folder, **tables):
    cells = np.empty((4, 1), object)
    cells[:, 0] = NAMES
    attributes = np.arange(12.0).reshape(3, 4)  # (attributes, classes)
    whole = {"allclasses_names": cells, "att": attributes / 10, "original_att": attributes, **locations(), **tables}
    savemat(folder / "att_splits.mat", whole)


@pytest.fixture
def folder(tmp_path):
    features = np.arange(16.0)[None].repeat(2, axis=0)  # (features, samples)
    savemat(tmp_path / "res101.mat", {"features": features, "labels": LABELS[:, None] + 1})
    write_splits(tmp_path)
    (tmp_path / "valclasses1.txt").write_text("007.crow\n003.wren\n")
    (tmp_path / "valclasses2.txt").write_text("003.wren\n")
    return tmp_path


def test_positions_and_labels_count_from_one(folder):
    contents = read("xian", folder, ImportOptions())
    contents.check()
    np.testing.assert_array_equal(contents.labels, LABELS)
    assert np.flatnonzero(contents.train).tolist() == [0, 1, 2, 8, 9, 10]
    assert contents.features["res101"].values[5].tolist() == [5, 5]
    assert contents.features["res101"].normalise == "minmax"
    assert contents.splits["proposed"].unseen == ["003.wren", "001.gull"]


def test_what_the_features_network_was_trained_on_is_known_of_res101_alone(folder):
    own = read("xian", folder, ImportOptions()).features["res101"].trained_on
    assert (own.classes, own.other) == ("none", ("ImageNet",))
    assert read("xian", folder, ImportOptions(extractor="fine-tuned")).features["res101"].trained_on == UNKNOWN
    said = read("xian", folder, ImportOptions(trained_on_classes="seen:proposed")).features["res101"].trained_on
    assert (said.classes, said.other) == (("012.owl", "007.crow"), ("ImageNet",))
    with pytest.raises(InputError, match="--trained-on-classes seen:other: no such split; there is proposed"):
        read("xian", folder, ImportOptions(trained_on_classes="seen:other"))


def test_attributes_are_turned_to_one_row_a_class_in_label_order(folder):
    assert read("xian", folder, ImportOptions()).classes[1].attributes == [0.1, 0.5, 0.9]
    raw = read("xian", folder, ImportOptions(attributes="original_att"))
    assert raw.classes[1].name == "003.wren"
    assert raw.classes[1].attributes == [1, 5, 9]


def test_validation_folds_keep_only_seen_classes(folder):
    assert read("xian", folder, ImportOptions()).splits["proposed"].pseudo_unseen == [["007.crow"]]


def test_samples_in_no_list_are_left_out(folder):
    write_splits(folder, **locations(test_seen=(12,)))
    contents = read("xian", folder, ImportOptions())
    assert contents.features["res101"].values[:, 0].tolist() == [i for i in range(16) if i != 3]
    assert contents.train[:4].tolist() == [True, True, True, False]
    assert "1 samples that stand in no list left out" in contents.source


@pytest.mark.parametrize(
    ("tables", "reason"),
    [
        (locations(trainval=(1, 2, 5)), "a position stands in more than one list"),
        (locations(trainval=(0, 1, 2)), "positions run from 0 to 16, the features have 16 rows"),
        (locations(test_unseen=(17,)), "positions run from 1 to 17"),
        (locations(test_unseen=(5, 6, 16), trainval=(1, 7)), "trainval_loc and test_unseen_loc share 1 classes"),
        (locations(test_unseen=(5,), test_seen=(6,)), "test_seen_loc and test_unseen_loc share 1 classes"),
    ],
)
def test_positions_that_do_not_fit_the_rows_are_refused_with_the_way_out(folder, tables, reason):
    write_splits(folder, **tables)
    with pytest.raises(InputError, match=rf"not in the order.*{reason}.*--locations ignore"):
        read("xian", folder, ImportOptions())


def test_ignoring_positions_takes_the_class_split_and_draws_a_partition(folder):
    write_splits(folder, **locations(test_unseen=(1,), trainval=(5,)))
    options = ImportOptions(locations="ignore", seed=3)
    with pytest.raises(InputError, match=r"testclasses\.txt: no such file"):
        read("xian", folder, options)
    (folder / "testclasses.txt").write_text("001.gull\n003.wren\n")
    contents, again = read("xian", folder, options), read("xian", folder, options)
    assert contents.splits["proposed"].unseen == ["003.wren", "001.gull"]
    assert contents.train.sum() == 12
    np.testing.assert_array_equal(contents.train, again.train)
    assert "seed 3" in contents.source


def test_a_seed_without_a_drawn_partition_is_refused(folder):
    with pytest.raises(InputError, match="--seed does not apply"):
        read("xian", folder, ImportOptions(seed=1))


def test_an_npz_with_names_of_its_own_is_brought_into_label_order(folder):
    theirs = sorted(NAMES)
    labels = np.array([theirs.index(NAMES[i]) for i in LABELS])
    np.savez(folder / "bow.npz", features=np.ones((16, 2)), labels=labels, classes=np.array(theirs))
    contents = read("xian", folder, ImportOptions(features=folder / "bow.npz", extractor="bags of words"))
    np.testing.assert_array_equal(contents.labels, LABELS)
    assert contents.features["bow"].extractor == "bags of words"
    np.savez(folder / "bow.npz", features=np.ones((16, 2)), labels=labels, classes=np.array([*theirs[:3], "kite"]))
    with pytest.raises(InputError, match=r"not those of att_splits\.mat; `012\.owl` is in one"):
        read("xian", folder, ImportOptions(features=folder / "bow.npz"))


def _truncate(folder):
    path = folder / "att_splits.mat"
    path.write_bytes(path.read_bytes()[:300])


def _version_7_3(folder):
    header = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    (folder / "res101.mat").write_bytes(header + bytes(400))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_truncate, r"att_splits\.mat: truncated, or no MATLAB file"),
        (_version_7_3, r"res101\.mat: a MATLAB v7\.3 file; save it with"),
        (lambda f: (f / "res101.mat").unlink(), r"no res101\.mat.*use --features"),
        (lambda f: savemat(f / "res101.mat", {"features": np.ones((2, 3))}), "no `labels`; it holds features"),
        (lambda f: write_splits(f, att=np.full((3, 4), np.nan)), "`att`: holds NaN or infinity"),
        (lambda f: write_splits(f, att=np.ones((3, 5))), "`att`: 5 rows, expected 4"),
        (lambda f: (f / "valclasses1.txt").write_text("heron\n"), r"valclasses1\.txt: unknown class `heron`"),
    ],
)
def test_a_wrong_file_is_named(folder, damage, message):
    damage(folder)
    with pytest.raises(InputError, match=message):
        read("xian", folder, ImportOptions())
