from dataclasses import replace

import numpy as np
import pytest

from platform.datasets.extractor_check import refuse_seen_classes
from platform.datasets.folder import write_dataset
from platform.datasets.readers import ImportOptions, read
from platform.datasets.splits import published_class_lists
from platform.errors import InputError

NAMES = ["bow", "clap", "drop", "jump", "kick", "wave"]
UNSEEN = [1, 4]
PSEUDO = [3]


def write_arrays(folder, **arrays):
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)


@pytest.fixture
def layout(tmp_path):
    """A small folder in the layout, and options that name its classes."""
    rng = np.random.default_rng(0)
    seen = [c for c in range(len(NAMES)) if c not in UNSEEN]
    train_labels = np.repeat(seen, 3)
    test_labels = np.tile(np.arange(len(NAMES)), 2)
    test = rng.normal(size=(12, 4)).astype(np.float32)
    rows = np.isin(test_labels, UNSEEN)
    write_arrays(
        tmp_path / "shift_2_r",
        train=rng.normal(size=(12, 4)).astype(np.float32),
        train_label=train_labels,
        gtest=test,
        g_label=test_labels,
        gtest_out=rng.normal(size=(12, 6)).astype(np.float32),
        ztest=test[rows],
        z_label=test_labels[rows],
    )
    (tmp_path / "names.txt").write_text("\n".join(NAMES) + "\n")
    return tmp_path / "shift_2_r", ImportOptions(classes=tmp_path / "names.txt")


def write_validation(folder, extra_class=None):
    rng = np.random.default_rng(1)
    train_labels = np.array([0, 2, 5, 5] if extra_class is None else [0, 2, 5, extra_class])
    write_arrays(
        folder,
        train=rng.normal(size=(4, 4)),
        train_label=train_labels,
        val=rng.normal(size=(3, 4)),
        val_label=np.array([0, 2, 5]),
        val_out=np.ones((3, 6)),
        ztest=rng.normal(size=(2, 4)),
        z_label=np.array(PSEUDO * 2),
        ztest_out=np.zeros((2, 6)),
    )


def test_training_rows_come_first_and_only_test_rows_have_logits(layout):
    folder, options = layout
    contents = read("synse", folder, options)
    contents.check()
    assert contents.train.sum() == 12
    assert contents.train[:12].all()
    np.testing.assert_array_equal(contents.features["features"].values[12:], np.load(folder / "gtest.npy"))
    assert np.isnan(contents.logits[:12]).all()
    np.testing.assert_array_equal(contents.logits[12:], np.load(folder / "gtest_out.npy"))
    assert contents.splits["given"].unseen == ["clap", "kick"]


def test_extractors_were_trained_on_the_seen_classes_of_their_split(layout):
    folder, options = layout
    write_validation(folder / "val")
    contents = read("synse", folder, options)
    own, fold = contents.features["features"].trained_on, contents.validation.features["features"].trained_on
    assert (own.classes, own.other) == (("bow", "drop", "jump", "wave"), "none")
    assert contents.logits_trained_on == own
    assert fold.classes == ("bow", "drop", "wave")
    assert contents.validation.logits_trained_on == fold
    said = read("synse", folder, replace(options, trained_on_classes="all", pretrained_on="ntu60, Kinetics-400"))
    assert (said.logits_trained_on.classes, said.logits_trained_on.other) == (tuple(NAMES), ("ntu60", "Kinetics-400"))
    fold = said.validation.features["features"].trained_on
    assert (fold.classes, fold.other) == (("bow", "drop", "wave"), ("ntu60", "Kinetics-400"))


def test_a_folder_that_was_made_for_one_split_is_clean_on_that_split_alone(tmp_path):
    known = published_class_lists()["ntu60"]
    unseen = known["splits"]["55_5"]["unseen"]
    labels = np.arange(60)
    seen = np.setdiff1d(labels, unseen)
    test = np.random.default_rng(0).normal(size=(60, 2))
    arrays = {"train": np.ones((55, 2)), "train_label": seen, "gtest": test, "g_label": labels}
    write_arrays(tmp_path / "shift_5_r", **arrays, ztest=test[unseen], z_label=np.array(unseen))
    contents = read("synse", tmp_path / "shift_5_r", ImportOptions(class_list="ntu60"))
    dataset = write_dataset(contents, tmp_path / "out")
    for split in ("given", "55_5"):
        refuse_seen_classes(dataset, split, ["features"])
    for split in ("48_12", "sadvae-random-1", "random:5:1", "half:0"):
        with pytest.raises(InputError, match=f"split `{split}`: the extractor behind `features` was trained on"):
            refuse_seen_classes(dataset, split, ["features"])


def test_where_held_out_samples_come_from_stands_among_the_notes(layout):
    folder, options = layout
    assert read("synse", folder, options).notes == []
    write_validation(folder / "val")
    notes = read("synse", folder, options).notes
    assert "validation/: val.npy (remaining seen classes): counts do not tell" in notes[0]
    assert "its 2 samples are, class by class, as many as the test partition has" in notes[1]


def test_what_was_read_can_be_written_and_read_back(layout, tmp_path):
    folder, options = layout
    write_validation(folder / "val")
    dataset = write_dataset(read("synse", folder, options), tmp_path / "out")
    assert dataset.validation.features().shape == (9, 4)
    assert dataset.damaged() == []


def test_logits_may_lack(layout):
    folder, options = layout
    (folder / "gtest_out.npy").unlink()
    assert read("synse", folder, options).logits is None


def test_unseen_rows_may_be_grouped_by_class(layout):
    folder, options = layout
    order = np.argsort(np.load(folder / "z_label.npy"), kind="stable")
    for name in ("ztest", "z_label"):
        np.save(folder / f"{name}.npy", np.load(folder / f"{name}.npy")[order])
    assert read("synse", folder, options).splits["given"].unseen == ["clap", "kick"]


def test_labels_may_stand_in_a_column_of_floats(layout):
    folder, options = layout
    np.save(folder / "g_label.npy", np.load(folder / "g_label.npy")[:, None].astype(float))
    assert read("synse", folder, options).labels.dtype == np.int64


def _with(folder, name, change):
    np.save(folder / f"{name}.npy", change(np.load(folder / f"{name}.npy")))


def _truncate(folder):
    path = folder / "gtest.npy"
    path.write_bytes(path.read_bytes()[:-40])


def _pickle(folder):
    np.save(folder / "train.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "ztest.npy").unlink(), r"ztest\.npy: no such file"),
        (_truncate, r"gtest\.npy: truncated"),
        (lambda f: (f / "train.npy").write_bytes(b""), r"train\.npy: truncated"),
        (_pickle, r"train\.npy: truncated, or no \.npy file of plain numbers"),
        (lambda f: _with(f, "ztest", lambda x: x + 1), r"ztest\.npy: its features are not those of the same samples"),
        (lambda f: _with(f, "ztest", lambda x: x[:, :3]), r"ztest\.npy: its features are not those"),
        (lambda f: _with(f, "z_label", lambda y: np.where(y == 1, 4, y)), r"4 samples of class 4 \(`kick`\).*has 2"),
        (lambda f: _with(f, "train_label", lambda y: np.full_like(y, 4)), r"train_label\.npy: has samples of class 4"),
        (lambda f: _with(f, "train_label", lambda y: y[:-1]), r"11 labels for 12 rows"),
        (lambda f: _with(f, "g_label", lambda y: y + 1), r"g_label\.npy: label 6 is outside the 6 classes.*0 to 5"),
        (lambda f: _with(f, "g_label", lambda y: y + 0.5), r"g_label\.npy: .*not whole"),
        (lambda f: _with(f, "gtest_out", lambda x: x[:, :4]), r"gtest_out\.npy: 4 columns, expected 6"),
        (lambda f: _with(f, "gtest", lambda x: x[:, :, None]), r"gtest\.npy: shape .*expected \(samples, features\)"),
    ],
)
def test_a_wrong_file_is_named_in_one_line(layout, damage, message):
    folder, options = layout
    damage(folder)
    with pytest.raises(InputError, match=message) as caught:
        read("synse", folder, options)
    assert "\n" not in str(caught.value)


def test_a_feature_that_is_not_finite_is_refused_by_the_check(layout):
    folder, options = layout
    _with(folder, "train", lambda x: np.where(np.arange(12)[:, None] == 3, np.nan, x))
    with pytest.raises(InputError, match="row 3 holds NaN"):
        read("synse", folder, options).check()


@pytest.mark.parametrize("place", ["shift_2_r/val", "shift_val_2_r", "other_val"])
def test_the_validation_folder_is_found_inside_or_beside(layout, tmp_path, place):
    folder, options = layout
    write_validation(tmp_path / place)
    contents = read("synse", folder, options)
    assert contents.splits["given"].pseudo_unseen == [["jump"]]
    validation = contents.validation
    validation.check()
    assert validation.splits["given"].unseen == ["jump"]
    assert validation.train.tolist() == [True] * 4 + [False] * 5
    assert validation.logits[4:, 0].tolist() == [1, 1, 1, 0, 0]


def test_a_validation_folder_of_another_split_is_not_taken(layout, tmp_path):
    folder, options = layout
    write_validation(tmp_path / "shift_val_3_r")
    write_arrays(tmp_path / "shift_3_r", gtest=np.zeros((1, 1)))
    assert read("synse", folder, options).validation is None


@pytest.mark.parametrize(("extra", "reason"), [(1, "may not touch it"), (3, "names pseudo-unseen")])
def test_a_validation_folder_that_saw_held_out_classes_is_refused(layout, tmp_path, extra, reason):
    folder, options = layout
    write_validation(tmp_path / "shift_val_2_r", extra_class=extra)
    with pytest.raises(InputError, match=rf"train_label\.npy: has samples of class {extra} .*{reason}"):
        read("synse", folder, options)


def test_class_names_have_to_come_from_somewhere(layout):
    folder, _ = layout
    with pytest.raises(InputError, match=r"--classes FILE.*--class-list"):
        read("synse", folder, ImportOptions())


def test_text_features_and_descriptions_are_kept_by_name(layout, tmp_path):
    folder, options = layout
    np.save(tmp_path / "lb_6.npy", np.eye(6))
    (tmp_path / "llm.txt").write_text("\n".join(f"{n} is done" for n in NAMES))
    options = ImportOptions(
        classes=options.classes, text={"lb_6": tmp_path / "lb_6.npy"}, descriptions={"llm": tmp_path / "llm.txt"}
    )
    contents = read("synse", folder, options)
    np.testing.assert_array_equal(contents.embeddings["lb_6"], np.eye(6))
    assert contents.classes[2].descriptions == {"llm": ["drop is done"]}


def test_text_features_need_a_row_a_class(layout, tmp_path):
    folder, options = layout
    np.save(tmp_path / "lb_5.npy", np.eye(5))
    with pytest.raises(InputError, match=r"lb_5\.npy: 5 rows, expected 6"):
        read("synse", folder, ImportOptions(classes=options.classes, text={"lb": tmp_path / "lb_5.npy"}))


@pytest.mark.parametrize(
    ("unseen", "says"),
    [
        ([10, 11, 19, 26, 56], "the same unseen classes as the published split ntu60/55_5"),
        ([5, 12, 16, 25, 32, 34, 40, 41, 48, 50, 51, 57], "SUPERSEDED: its authors replaced this class list"),
        ([1, 2], "the folder shift"),
    ],
)
def test_the_split_says_which_published_one_it_is(tmp_path, unseen, says):
    labels = np.arange(60)
    write_arrays(
        tmp_path / "shift",
        train=np.ones((60 - len(unseen), 2)),
        train_label=np.setdiff1d(labels, unseen),
        gtest=np.ones((60, 2)),
        g_label=labels,
        ztest=np.ones((len(unseen), 2)),
        z_label=np.array(unseen),
    )
    contents = read("synse", tmp_path / "shift", ImportOptions(class_list="ntu60"))
    assert contents.classes[10].name == "reading"
    assert says in contents.splits["given"].source
    assert ("published split" in contents.splits["given"].source) == ("published split" in says)
