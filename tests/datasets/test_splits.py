import pytest

from platform.datasets.contents import ClassSplit, check_split
from platform.datasets.splits import drawn_split, published_class_lists, published_splits, refuse_single_class
from platform.errors import InputError

NAMES = [f"class {i}" for i in range(60)]


@pytest.mark.parametrize("class_list", published_class_lists())
def test_every_published_split_is_a_split_of_its_class_list(class_list):
    known = published_class_lists()[class_list]
    names = known["classes"] or [str(i) for i in range(known["count"])]
    assert len(set(names)) == known["count"]
    splits = published_splits(class_list, names)
    assert len(splits) == len(known["splits"])
    for name, split in splits.items():
        check_split(f"{class_list} {name}", split, names)
        assert split.source


def test_a_published_split_is_in_the_data_sets_own_names():
    split = published_splits("ntu60", NAMES)["55_5"]
    assert split.unseen == ["class 10", "class 11", "class 19", "class 26", "class 56"]
    assert split.pseudo_unseen == [["class 16", "class 21", "class 25", "class 31", "class 48"]]


@pytest.mark.parametrize(
    ("class_list", "name"), [("ntu60", "55_5"), ("ntu60", "48_12"), ("ntu120", "110_10"), ("ntu120", "96_24")]
)
def test_published_validation_holds_out_as_many_classes_as_are_unseen(class_list, name):
    split = published_class_lists()[class_list]["splits"][name]
    assert [len(fold) for fold in split["pseudo_unseen"]] == [len(split["unseen"])]


def test_a_superseded_list_differs_from_the_published_one():
    splits = published_splits("ntu60", NAMES)
    assert set(splits["48_12"].unseen) != set(splits["48_12-superseded"].unseen)


def test_without_a_class_list_nothing_is_published():
    assert published_splits(None, NAMES) == {}


def test_a_class_list_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match="unknown class list `ntu61`; the built-in ones are ntu60"):
        published_splits("ntu61", NAMES)
    with pytest.raises(InputError, match="class list `ntu120` has 120 classes, the data set 60"):
        published_splits("ntu120", NAMES)


def test_a_drawn_split_is_its_seeds_alone():
    first, again, other = (drawn_split(f"random:5:{seed}", NAMES) for seed in (0, 0, 1))
    assert first == again
    assert set(first.unseen) != set(other.unseen)
    assert len(set(first.unseen)) == 5


@pytest.mark.parametrize(
    "name",
    [
        "random:5",
        "random:a:0",
        "random:0:0",
        "random:60:0",
        "random:5:-1",
        "random:5:0:1",
        "half:a",
        "half",
        "half:-1",
        "half:5:0",
    ],
)
def test_a_drawn_split_that_cannot_be_is_refused(name):
    with pytest.raises(InputError, match=f"split `{name}`"):
        drawn_split(name, NAMES)


@pytest.mark.parametrize(
    ("unseen", "tested", "said"),
    [
        (["bow"], ["bow", "clap"], "it has one unseen class, `bow`, among which every model is right"),
        (["bow"], [], "it has one unseen class, `bow`"),
        (["bow", "clap"], ["clap", "drop"], "all its test samples of unseen classes are of one, `clap`"),
        (["bow", "clap"], ["bow", "clap"], None),
        (["bow", "clap"], ["drop"], None),  # which is refused for another reason
    ],
)
def test_a_split_that_tests_a_single_unseen_class_is_refused(unseen, tested, said):
    split = ClassSplit(unseen=unseen, source="made up")
    if said is None:
        refuse_single_class("here", split, tested)
        return
    with pytest.raises(InputError, match=f"here: {said}"):
        refuse_single_class("here", split, tested)


@pytest.mark.parametrize(("class_list", "unseen"), [("ucf101", 50), ("hmdb51", 25), ("olympic16", 8)])
def test_half_of_the_classes_are_unseen_the_larger_half_seen(class_list, unseen):
    names = published_class_lists()[class_list]["classes"]
    half, other = (drawn_split(f"half:{seed}", names) for seed in (0, 1))
    assert len(half.unseen) == unseen
    assert half == drawn_split(f"random:{unseen}:0", names)
    assert set(half.unseen) != set(other.unseen)
