import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from made_frames import SIDE, greys, write_frames

from platform.datasets import folder as folder_module
from platform.datasets.contents import (
    ClassInfo,
    ClassSplit,
    Contents,
    FeatureArray,
    Skeletons,
    usual_normalisation,
)
from platform.datasets.encoded_frames import EncodedFrames
from platform.datasets.folder import Dataset, write_dataset
from platform.errors import InputError

NAMES = ["bow", "clap", "drop", "wave"]


@pytest.fixture
def contents():
    rng = np.random.default_rng(0)
    labels = np.tile(np.arange(4), 3)
    logits = rng.normal(size=(12, 4))
    logits[:6] = np.nan
    small = Contents(
        name="small",
        modality="skeleton",
        licence="none",
        source="made here",
        classes=[ClassInfo(name=n, descriptions={"llm": [f"to {n}"]}, attributes=[1.0, 2.0]) for n in NAMES],
        labels=labels,
        train=np.arange(12) < 6,
        features={
            "double": FeatureArray(rng.normal(size=(12, 3)), "one"),
            "half": FeatureArray(rng.normal(size=(12, 5)).astype(np.float16), "two", "l2"),
        },
        ids=[f"clip {i}" for i in range(12)],
        groups=np.arange(12) % 3,
        splits={"ours": ClassSplit(unseen=["clap", "wave"], pseudo_unseen=[["drop"]], source="made up")},
        embeddings={"names": np.eye(4)},
        logits=logits,
        skeletons=Skeletons([rng.normal(size=(2 + i, 1, 20, 3)) for i in range(12)], "kinect_v1"),
    )
    return replace(small, validation=replace(small, name="small, validation"))


def test_everything_written_is_read_back(contents, tmp_path):
    written = write_dataset(contents, tmp_path / "small")
    for dataset in (written, Dataset(tmp_path / "small"), Dataset(tmp_path / "small").validation):
        assert dataset.class_names == NAMES
        assert dataset.classes == contents.classes
        assert dataset.ids.to_pylist() == contents.ids
        np.testing.assert_array_equal(dataset.labels, contents.labels)
        np.testing.assert_array_equal(dataset.groups, contents.groups)
        np.testing.assert_array_equal(dataset.train, contents.train)
        np.testing.assert_array_equal(dataset.features(), contents.features["double"].values.astype(np.float32))
        np.testing.assert_array_equal(dataset.features("half"), contents.features["half"].values)
        np.testing.assert_array_equal(dataset.logits, contents.logits.astype(np.float32))
        np.testing.assert_array_equal(dataset.embedding("names"), np.eye(4))
        np.testing.assert_array_equal(dataset.skeleton(4), contents.skeletons.clips[4].astype(np.float32))
        assert dataset.split("ours") == contents.splits["ours"]
    assert written.validation.card.name == "small, validation"
    assert written.card.features["half"].normalise == "l2"
    assert written.card.train_samples == 6


@pytest.mark.parametrize(
    ("class_list", "said", "unseen_test"),
    [
        (None, None, "all"),
        ("utd_mhad", None, "all"),
        ("ntu60", None, "partition"),  # as its published protocols
        ("pku51", None, "partition"),
        ("ntu60", "all", "all"),
        (None, "partition", "partition"),
    ],
)
def test_the_card_says_which_samples_of_unseen_classes_are_tested(contents, tmp_path, class_list, said, unseen_test):
    dataset = write_dataset(replace(contents, validation=None, unseen_test=said), tmp_path / "small")
    card = dataset.card.model_copy(update={"class_list": class_list, "unseen_test": said})
    dataset.card = card  # an older one says nothing
    assert dataset.unseen_test == unseen_test
    seen_first = np.where(dataset.labels == 3, -1, dataset.labels)  # class 3 does not count; 0 and 1 are seen
    rows = dataset.test_rows(seen_first, 2)
    of_unseen = 3 if unseen_test == "all" else 2
    assert (np.isin(dataset.labels[rows], [0, 1]).sum(), (dataset.labels[rows] == 2).sum()) == (2, of_unseen)
    assert not dataset.train[rows[dataset.labels[rows] < 2]].any()


def test_rectified_features_are_brought_to_0_to_1_and_others_divided_by_one_number():
    rectified = np.abs(np.random.default_rng(0).normal(size=(9000, 2)))
    assert usual_normalisation(rectified) == "minmax"
    rectified[-1, 1] = -1e-3
    assert usual_normalisation(rectified) == "scale"


def test_what_is_not_given_is_filled_in(contents, tmp_path):
    bare = replace(contents, ids=None, groups=None, logits=None, skeletons=None, embeddings={}, validation=None)
    dataset = write_dataset(bare, tmp_path / "bare")
    assert len(set(dataset.ids.to_pylist())) == 12
    assert (dataset.groups == -1).all()
    assert dataset.logits is None
    assert dataset.validation is None
    with pytest.raises(InputError, match="holds no raw skeletons"):
        dataset.skeleton(0)


def test_pixels_are_written_from_a_memory_map_and_read_as_one(contents, tmp_path):
    values = np.memmap(tmp_path / "values", np.uint8, "w+", shape=(12, 12))
    values[:] = np.arange(144).reshape(12, 12)
    pixels = FeatureArray(values, "made here", kind="pixels")
    dataset = write_dataset(replace(contents, features={**contents.features, "p": pixels}), tmp_path / "out")
    found = dataset.features("p")
    np.testing.assert_array_equal(found, values)
    assert (found.dtype, found.flags.owndata, found.flags.writeable) == (np.uint8, False, False)
    facts = dataset.card.features
    assert [(facts[name].kind, facts[name].side) for name in ("half", "p")] == [("numbers", None), ("pixels", 2)]
    again = dataset.feature_array("p")
    assert (again.kind, again.side, again.extractor) == ("pixels", 2, "made here")


def test_frames_are_written_as_they_are_and_read_as_frames(contents, tmp_path):
    frames = FeatureArray(write_frames(tmp_path / "f.arrow", greys(12)), "made here", kind="frames")
    one = replace(contents, features={"f": frames}, validation=None)
    dataset = write_dataset(one, tmp_path / "out")
    found = dataset.features("f")
    assert isinstance(found, EncodedFrames)
    assert [found.key(i) for i in range(12)] == [frames.values.key(i) for i in range(12)]
    facts = dataset.card.features["f"]
    assert (facts.kind, facts.side, facts.frames, facts.dimension) == ("frames", SIDE, 2, 2 * 3 * SIDE**2)
    assert dataset.feature_array("f").check("it", 12) is None
    assert dataset.damaged() == []
    assert write_dataset(one, tmp_path / "again").card.checksum == dataset.card.checksum
    content = (tmp_path / "out" / "features" / "f.arrow").read_bytes()
    (tmp_path / "out" / "features" / "f.arrow").write_bytes(content[:-50])
    with pytest.raises(InputError, match=r"f\.arrow: missing or truncated .*; import the data again"):
        dataset.features("f")


def test_a_writing_of_frames_that_fails_leaves_nothing(contents, tmp_path, monkeypatch):
    frames = FeatureArray(write_frames(tmp_path / "f.arrow", greys(12)), "made here", kind="frames")
    (tmp_path / "data").mkdir()

    def encoded(self, row):
        if row == 5:
            raise KeyboardInterrupt
        return [b"a", b"b"]

    monkeypatch.setattr(EncodedFrames, "encoded", encoded)
    with pytest.raises(KeyboardInterrupt):
        write_dataset(replace(contents, features={"f": frames}), tmp_path / "data" / "out")
    assert list((tmp_path / "data").iterdir()) == []


def test_whole_numbers_are_written_as_numbers(contents, tmp_path):
    counts = FeatureArray(np.arange(36, dtype=np.uint8).reshape(12, 3), "counts")
    dataset = write_dataset(replace(contents, features={"f": counts}), tmp_path / "out")
    assert dataset.features().dtype == np.float32


def test_a_folder_from_before_there_were_pixels_is_read(contents, tmp_path):
    card = write_dataset(contents, tmp_path / "old").folder / "dataset.json"
    record = json.loads(card.read_text())
    for facts in record["features"].values():
        del facts["kind"], facts["side"]
    card.write_text(json.dumps(record))
    assert Dataset(tmp_path / "old").card.features["half"].kind == "numbers"


def test_an_existing_folder_is_left_alone(contents, tmp_path):
    (tmp_path / "small").mkdir()
    with pytest.raises(InputError, match="small exists already"):
        write_dataset(contents, tmp_path / "small")


def test_a_failure_leaves_nothing_behind(contents, tmp_path, monkeypatch):
    def fail(path):
        raise OSError("disk full")

    monkeypatch.setattr(folder_module, "_checksum", fail)
    with pytest.raises(OSError, match="disk full"):
        write_dataset(contents, tmp_path / "new" / "small")
    assert list((tmp_path / "new").iterdir()) == []


def test_what_a_killed_import_left_goes_with_the_next_one(contents, tmp_path):
    left, other = tmp_path / ".sma[l]l.0123.partial", tmp_path / ".another.0123.partial"
    left.mkdir(), other.mkdir()
    write_dataset(contents, tmp_path / "sma[l]l")
    assert not left.exists()
    assert other.exists()


def test_what_another_import_is_writing_stays(contents, tmp_path):
    with folder_module._whole_or_nothing(tmp_path / "small") as partial:
        write_dataset(contents, tmp_path / "small")
        assert partial.exists()
        (tmp_path / "small").rename(tmp_path / "first")
    assert (tmp_path / "small").exists()


def _features(values):
    return lambda c: replace(c, features={"f": FeatureArray(values, "x")})


def _frames(count, normalise="none", kind="frames"):
    with TemporaryDirectory() as folder:  # a map outlives its file's name
        values = write_frames(Path(folder) / "f.arrow", greys(count))
    return lambda c: replace(c, features={"p": FeatureArray(values, "x", normalise, kind)})


def _pixels(values, normalise="none"):
    return lambda c: replace(c, features={"p": FeatureArray(values, "x", normalise, "pixels")})


def _clip(clip):
    """The fifth clip is replaced."""
    return lambda c: replace(
        c, skeletons=replace(c.skeletons, clips=[*c.skeletons.clips[:4], clip, *c.skeletons.clips[5:]])
    )


def _row_of_nan(shape, row):
    values = np.ones(shape)
    values[row, 0] = np.nan
    return values


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_features(_row_of_nan((12, 3), 7)), "`small`: feature set `f`: row 7 holds NaN or infinity"),
        (_features(np.ones((11, 3))), "feature set `f`: 11 rows, expected 12"),
        (_features(np.ones((12, 3, 2))), r"feature set `f`: shape \(12, 3, 2\)"),
        (_pixels(np.ones((12, 12))), "feature set `p`: pixels are float64; expected uint8"),
        (_pixels(np.ones((12, 13), np.uint8)), "feature set `p`: rows of 13 pixels; expected 3 x S x S"),
        (_pixels(np.ones((12, 12), np.uint8), "minmax"), "feature set `p`: normalise minmax; pixels are given to"),
        (_pixels(np.ones((11, 12), np.uint8)), "feature set `p`: 11 rows, expected 12"),
        (_frames(11), "feature set `p`: 11 rows, expected 12"),
        (_frames(12, normalise="l2"), "feature set `p`: normalise l2; frames are given to a method as they are: none"),
        (_frames(12, kind="pixels"), "feature set `p`: of kind pixels, but holds EncodedFrames"),
        (lambda c: replace(c, features={}, skeletons=None), "no feature set"),
        (_clip(np.ones((3, 1, 25, 3))), r"clip 4 is \(3, 1, 25, 3\); layout kinect_v1 needs \(frames, bodies, 20, 3\)"),
        (_clip(np.ones((0, 1, 20, 3))), r"clip 4 is \(0, 1, 20, 3\)"),
        (_clip(np.full((3, 1, 20, 3), np.nan)), "clip 4 holds NaN or infinity"),
        (lambda c: replace(c, labels=c.labels + 1), "label 4 is outside the 4 classes"),
        (lambda c: replace(c, labels=c.labels[:0]), "no samples"),
        (lambda c: replace(c, ids=["one"] * 12), "sample ids repeat"),
        (lambda c: replace(c, groups=np.zeros(3)), "3 groups for 12 labels"),
        (lambda c: replace(c, classes=[*c.classes[:3], c.classes[0]]), "class `bow` is named twice"),
        (lambda c: replace(c, classes=[*c.classes[:3], ClassInfo(name="wave")]), "3 of 4 classes have attributes"),
        (lambda c: replace(c, classes=[*c.classes[:3], ClassInfo(name=" ")]), "class 3 has no text"),
        (lambda c: replace(c, logits=c.logits[:, :2]), r"logits are \(12, 2\), expected \(12, 4\)"),
        (lambda c: replace(c, logits=_row_of_nan((12, 4), 2)), "logits row 2 must be finite, or NaN throughout"),
        (lambda c: replace(c, embeddings={"names": np.eye(3)}), "class embedding `names`: 3 rows, expected 4"),
        (lambda c: replace(c, splits={"s": ClassSplit(unseen=["fly"], source="")}), "unknown class `fly`"),
        (lambda c: replace(c, splits={"s": ClassSplit(unseen=NAMES, source="")}), "4 unseen of 4 classes"),
        (
            lambda c: replace(c, splits={"s": ClassSplit(unseen=["bow"], pseudo_unseen=[["bow"]], source="")}),
            "class `bow` is both unseen and pseudo-unseen",
        ),
        (
            lambda c: replace(c, validation=replace(c.validation, features={}, skeletons=None)),
            "validation`: no feature set",
        ),
    ],
)
def test_what_would_spoil_a_result_is_refused_before_anything_is_written(contents, tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        write_dataset(change(contents), tmp_path / "small")
    assert list(tmp_path.iterdir()) == []


def test_another_format_version_is_refused(contents, tmp_path):
    write_dataset(contents, tmp_path / "small")
    card = tmp_path / "small" / "dataset.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"format_version": 2}))
    with pytest.raises(InputError, match="format version 2; this release reads version 1"):
        Dataset(tmp_path / "small")


@pytest.mark.parametrize("text", ["{", "[]", '{"format_version": 1}'])
def test_a_damaged_card_is_named(contents, tmp_path, text):
    write_dataset(contents, tmp_path / "small")
    (tmp_path / "small" / "dataset.json").write_text(text)
    with pytest.raises(InputError, match=r"dataset\.json: not a data card"):
        Dataset(tmp_path / "small")


def test_a_folder_of_something_else_is_named(tmp_path):
    with pytest.raises(InputError, match=r"is no data folder: it has no dataset\.json"):
        Dataset(tmp_path)


def _cut(path):
    path.write_bytes(path.read_bytes()[:-30])


@pytest.mark.parametrize(
    ("file", "use"),
    [
        ("samples.arrow", lambda d: d),
        ("classes.json", lambda d: d),
        ("splits.json", lambda d: d.splits),
        ("features/double.arrow", lambda d: d.features()),
        ("logits.arrow", lambda d: d.logits),
        ("embeddings/names.arrow", lambda d: d.embedding("names")),
    ],
)
def test_a_truncated_file_is_named_where_it_is_used(contents, tmp_path, file, use):
    write_dataset(contents, tmp_path / "small")
    _cut(tmp_path / "small" / file)
    with pytest.raises(InputError, match=rf"{file}: missing or (truncated|damaged).*import the data again"):
        use(Dataset(tmp_path / "small"))


def test_checksums_find_changed_and_missing_files(contents, tmp_path):
    dataset = write_dataset(contents, tmp_path / "small")
    assert dataset.damaged() == []
    path = tmp_path / "small" / "features" / "half.arrow"
    changed = bytearray(path.read_bytes())
    changed[len(changed) // 2] ^= 1
    path.write_bytes(bytes(changed))
    (tmp_path / "small" / "skeletons.arrow").unlink()
    assert dataset.damaged() == ["features/half.arrow", "skeletons.arrow"]


def test_features_are_mapped_and_cannot_be_changed(contents, tmp_path):
    features = write_dataset(contents, tmp_path / "small").features()
    with pytest.raises(ValueError, match="read-only"):
        features[0, 0] = 1


def test_unknown_names_are_answered_with_the_known_ones(contents, tmp_path):
    dataset = write_dataset(contents, tmp_path / "small")
    with pytest.raises(InputError, match="no feature set `i3d`; it has double, half"):
        dataset.features("i3d")
    with pytest.raises(InputError, match="no class embedding `clip`; it has names"):
        dataset.embedding("clip")
    with pytest.raises(InputError, match="no class split `55_5`; it has ours, and random:UNSEEN:SEED or half:SEED"):
        dataset.split("55_5")


@pytest.mark.parametrize("name", ["random:1:0", "alone", "half:0", "untested"])
def test_a_split_of_one_unseen_class_is_refused_and_can_still_be_described(contents, tmp_path, name):
    contents = replace(contents, labels=np.tile([0, 1, 2], 4), classes=contents.classes[:3])  # half of three is one
    contents = replace(contents, logits=None, embeddings={}, validation=None, train=contents.labels == 1)
    splits = {"alone": ["clap"], "untested": ["bow", "clap"]}
    splits = {n: ClassSplit(unseen=unseen, source="made up") for n, unseen in splits.items()}
    dataset = write_dataset(replace(contents, splits=splits, unseen_test="partition"), tmp_path / "small")
    with pytest.raises(InputError, match=rf"split `{name}`: .*100 % by construction; choose a split that tests two"):
        dataset.split(name)
    assert len(dataset.named_split(name).unseen) == (2 if name == "untested" else 1)


def test_a_validation_fold_may_hold_out_a_single_class(contents, tmp_path):
    fold = replace(contents.validation, splits={"given": ClassSplit(unseen=["drop"], source="made up")})
    dataset = write_dataset(replace(contents, validation=fold), tmp_path / "small")
    assert dataset.validation.split("given").unseen == ["drop"]


def test_an_embedding_can_be_added_and_replaced(contents, tmp_path):
    dataset = write_dataset(contents, tmp_path / "small")
    dataset.add_embedding("clip", np.zeros((4, 2)))
    dataset.add_embedding("clip", np.ones((4, 2)))
    assert dataset.embedding_names == ["clip", "names"]
    np.testing.assert_array_equal(dataset.embedding("clip"), np.ones((4, 2)))
