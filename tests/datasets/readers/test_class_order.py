import json
from dataclasses import replace

import numpy as np
import pytest

from platform.datasets.contents import ClassInfo
from platform.datasets.readers import ImportOptions, read
from platform.datasets.readers.class_order import in_published_order
from platform.datasets.splits import published_class_lists
from platform.datasets.trained_on import TrainedOn
from platform.errors import InputError

KNOWN = published_class_lists()["olympic16"]["classes"]
THEIRS = [name.title().replace(" ", "_") for name in reversed(KNOWN)]


@pytest.fixture
def npz(tmp_path):
    """Two samples a class in reversed order; the feature is the class's label in the file."""
    labels = np.arange(16).repeat(2)
    features = labels[:, None].astype(np.float32).repeat(2, axis=1)
    np.savez(
        tmp_path / "olympic.npz",
        features=features,
        labels=labels,
        classes=np.array(THEIRS),
        attributes=np.arange(16.0)[:, None],
        unseen=[0, 1],
    )
    return tmp_path / "olympic.npz"


def test_classes_come_in_the_published_order_with_all_that_belongs_to_them(npz, tmp_path):
    np.save(tmp_path / "text.npy", np.arange(16.0)[:, None])
    records = [{"word": name, "defn": f"what {name} is"} for name in KNOWN]
    (tmp_path / "er.json").write_text(json.dumps(records))
    (tmp_path / "lines.txt").write_text("\n".join(f"line {i}" for i in range(16)))
    files = {"er": tmp_path / "er.json", "lines": tmp_path / "lines.txt"}
    (tmp_path / "seen.txt").write_text("Vault\nTripleJump\n")
    options = ImportOptions(class_list="olympic16", text={"t": tmp_path / "text.npy"}, descriptions=files)
    options = replace(options, trained_on_classes=str(tmp_path / "seen.txt"))
    contents = read("npz", npz, options)
    contents.check()
    assert [c.name for c in contents.classes] == KNOWN
    np.testing.assert_array_equal(contents.labels, 15 - contents.features["features"].values[:, 0])
    assert contents.classes[0].attributes == [15]
    assert contents.embeddings["t"][0] == [15]
    assert contents.classes[0].descriptions == {"er": ["what basketball layup is"], "lines": ["line 15"]}
    assert contents.splits["official"].unseen == ["vault", "triple jump"]
    assert contents.features["features"].trained_on.classes == ("triple jump", "vault")
    assert contents.notes == [
        "classes brought into the order of the class list `olympic16`, which their labels had not"
    ]


def test_a_name_that_is_no_class_of_the_list_is_refused(npz):
    with pytest.raises(
        InputError, match="class `Vault` is none of the class list `ucf101`; the nearest is `pole vault`"
    ):
        read("npz", npz, ImportOptions(class_list="ucf101"))


def test_ucf101s_own_numbers_are_not_the_published_order(tmp_path):
    ucf101 = published_class_lists()["ucf101"]["classes"]
    own = ["".join(word.capitalize() for word in name.split()) for name in ucf101]
    for first, second in (("HammerThrow", "Hammering"), ("JumpRope", "JumpingJack")):
        a, b = own.index(first), own.index(second)
        own[a], own[b] = second, first
    (tmp_path / "classInd.txt").write_text("\n".join(f"{i} {name}" for i, name in enumerate(own, start=1)))
    labels = np.arange(101)
    np.savez(tmp_path / "ucf.npz", features=np.ones((101, 2)), labels=labels)
    contents = read("npz", tmp_path / "ucf.npz", ImportOptions(classes=tmp_path / "classInd.txt", class_list="ucf101"))
    contents.check()
    assert [c.name for c in contents.classes] == ucf101
    moved = np.flatnonzero(contents.labels != labels)
    assert [ucf101[i] for i in moved] == ["hammer throw", "hammering", "jump rope", "jumping jack"]


def test_the_classes_that_an_extractor_was_trained_on_are_renamed_too(npz):
    contents = read("npz", npz, ImportOptions(class_list="olympic16", trained_on_classes="seen:official"))
    assert set(contents.features["features"].trained_on.classes) == set(KNOWN) - {"vault", "triple jump"}
    own = TrainedOn(classes=("Vault",), other="none")
    theirs = [ClassInfo(name=name) for name in THEIRS]
    features = {"features": replace(contents.features["features"], trained_on=own)}
    theirs = replace(contents, classes=theirs, splits={}, features=features, logits_trained_on=own)
    ordered = in_published_order(theirs)
    assert ordered.features["features"].trained_on.classes == ordered.logits_trained_on.classes == ("vault",)
