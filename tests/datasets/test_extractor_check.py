import json

import numpy as np
import pytest

from platform.datasets.contents import ClassInfo, ClassSplit, Contents, FeatureArray
from platform.datasets.extractor_check import KINDS, LEGEND, findings, kinds_of, legend, marks, refuse_seen_classes
from platform.datasets.folder import Dataset, write_dataset
from platform.datasets.splits import published_class_lists
from platform.datasets.trained_on import NOT_TRAINED, UNKNOWN, TrainedOn
from platform.errors import InputError

NAMES = ["bow", "clap", "clapping", "drop", "kick", "wave"]
FEATURES = {
    "pose": NOT_TRAINED,
    "unknown": UNKNOWN,
    "seen": TrainedOn(classes=("bow", "clap", "drop"), other="none"),
    "ntu": TrainedOn(classes="none", other=("NTU-60",)),
    "private": TrainedOn(classes="none", other=("the lab's own",)),
    "tuned": TrainedOn(classes=("bow",), other=("ntu60",)),
    "perhaps": TrainedOn(classes="none", other="unknown"),
}
SPLITS = {"clean": ["kick", "wave"], "seen": ["bow", "kick"], "named": ["clapping", "wave"]}


def contents(names=NAMES, features=FEATURES, **others):
    labels = np.tile(np.arange(len(names)), 2)
    values = np.arange(2.0 * len(labels)).reshape(-1, 2)
    given = {
        "features": {name: FeatureArray(values, name, trained_on=on) for name, on in features.items()},
        "splits": {name: ClassSplit(unseen=unseen, source="made up") for name, unseen in SPLITS.items()},
    }
    return Contents(
        name="small",
        modality="skeleton",
        licence="none",
        source="made here",
        classes=[ClassInfo(name=n) for n in names],
        labels=labels,
        train=np.arange(len(labels)) < len(names),
        **given | others,
    )


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(contents(), tmp_path_factory.mktemp("data") / "small")


def found(dataset, split, *features):
    return findings(dataset, dataset.split(split), features)


@pytest.mark.parametrize(
    ("features", "split", "kinds", "said"),
    [
        ("pose", "seen", (), ""),
        ("seen", "clean", (), ""),
        ("seen", "seen", ("unseen",), "`seen` was trained on 1 of the 2 unseen classes: bow"),
        ("unknown", "clean", ("unknown",), "it is not known on what"),
        ("ntu", "clean", ("pretrained",), "was trained on NTU-60, of whose 60 classes none is named as an unseen one"),
        ("ntu", "named", ("same_names",), "60 classes have the names of 1 of the 2 unseen classes: clapping"),
        ("private", "named", ("pretrained",), "the lab's own, whose class names are not known here to be compared"),
        ("perhaps", "clean", ("unknown",), "may have been trained on other data too"),
    ],
)
def test_what_an_extractor_has_seen_is_compared_with_the_unseen_classes(dataset, features, split, kinds, said):
    own = found(dataset, split, features)
    assert kinds_of(own) == kinds
    assert all(said in finding.said for finding in own)


def test_one_extractor_may_have_several_faults_and_several_sets_are_all_asked(dataset):
    assert kinds_of(found(dataset, "seen", "tuned")) == ("unseen", "pretrained")
    assert kinds_of(found(dataset, "seen", "pose", "seen", "unknown")) == ("unseen", "unknown")
    assert kinds_of(found(dataset, "seen", None)) == ()  # the card's first


def test_logits_have_an_extractor_too(tmp_path):
    logits = np.zeros((2 * len(NAMES), len(NAMES)))
    own = write_dataset(contents(logits=logits, logits_trained_on=FEATURES["seen"]), tmp_path / "own")
    (finding,) = found(own, "seen", "pose")
    assert (finding.kind, "the logits was" in finding.said) == ("unseen", True)
    assert found(own, "clean", "pose") == []
    assert kinds_of(found(write_dataset(contents(logits=logits), tmp_path / "other"), "clean", "pose")) == ("unknown",)


def test_a_split_that_the_extractor_has_seen_is_refused_unless_it_is_allowed(dataset):
    message = (
        r"split `seen`: .*was trained on 1 of the 2 unseen classes: bow; .*\(clean, named\).*--allow-seen-extractor"
    )
    with pytest.raises(InputError, match=message):
        refuse_seen_classes(dataset, "seen", ["seen"])
    with pytest.raises(InputError, match="was trained on"):
        refuse_seen_classes(dataset, "seen", ["pose", "tuned"])
    refuse_seen_classes(dataset, "seen", ["seen"], allowed=True)
    for split in ("clean", "named"):
        refuse_seen_classes(dataset, split, ["ntu", "unknown", "private"])  # marked, not refused


def test_a_drawn_split_is_asked_as_well(dataset):
    drawn = dataset.split("random:4:0")  # of six classes: some of the three that were trained on
    with pytest.raises(InputError, match=r"split `random:4:0`"):
        refuse_seen_classes(dataset, "random:4:0", ["seen"])
    assert set(drawn.unseen) & {"bow", "clap", "drop"}


def test_weights_of_the_same_recordings_have_seen_the_classes_themselves(tmp_path):
    names = published_class_lists()["ntu120"]["classes"]
    small = contents(names, {"f": FEATURES["ntu"]}, class_list="ntu120", splits={})
    own = write_dataset(small, tmp_path / "ntu120")
    unseen = [ClassSplit(unseen=names[start : start + 5], source="made up") for start in (0, 100)]
    assert [kinds_of(findings(own, split, [None])) for split in unseen] == [("unseen",), ("pretrained",)]


def test_truze_has_no_unseen_class_of_kinetics_and_other_splits_have(tmp_path):
    names = published_class_lists()["ucf101"]["classes"]
    kinetics = TrainedOn(classes="none", other=("Kinetics-400",))
    own = write_dataset(contents(names, {"f": kinetics}, class_list="ucf101", splits={}), tmp_path / "ucf101")
    assert kinds_of(found(own, "truze", None)) == ("pretrained",)
    assert kinds_of(found(own, "half:0", None)) == ("same_names",)


def test_a_card_of_an_earlier_release_opens_and_says_unknown(tmp_path):
    written = write_dataset(contents(), tmp_path / "small")
    path = written.folder / "dataset.json"
    card = json.loads(path.read_text())
    del card["logits_trained_on"]
    for facts in card["features"].values():
        del facts["trained_on"]
    path.write_text(json.dumps(card))
    assert kinds_of(found(Dataset(written.folder), "clean", "pose")) == ("unknown",)


def test_a_card_keeps_what_its_extractors_were_trained_on(dataset):
    assert {name: facts.trained_on for name, facts in Dataset(dataset.folder).card.features.items()} == FEATURES


def test_a_class_that_there_is_not_is_refused(tmp_path):
    wrong = {"f": TrainedOn(classes=("fly",), other="none")}
    with pytest.raises(InputError, match="feature set `f`: its extractor was trained on `fly`, which is no class"):
        write_dataset(contents(features=wrong), tmp_path / "wrong")


def test_every_kind_has_its_mark_and_a_line_that_begins_with_it():
    assert len({marks([kind]) for kind in KINDS}) == len(KINDS)
    for kind in KINDS:
        assert LEGEND[kind].startswith(marks([kind]) + " ")
    assert marks(["unknown", "unseen"]) == "§?"
    assert legend(()) == []


@pytest.mark.parametrize(
    ("trained_on", "said"),
    [
        (UNKNOWN, "unknown"),
        (NOT_TRAINED, "none of these classes, no other data"),
        (FEATURES["tuned"], "1 of these classes, ntu60"),
        (FEATURES["perhaps"], "none of these classes, unknown which other data"),
        (TrainedOn(other=("a", "b")), "unknown which of these classes, a and b"),
    ],
)
def test_it_is_described_in_a_few_words(trained_on, said):
    assert trained_on.described() == said
