import pytest

from platform.datasets.class_spelling import positions, published_list_of, published_positions
from platform.datasets.splits import published_class_lists
from platform.errors import InputError

UCF101 = published_class_lists()["ucf101"]["classes"]
HMDB51 = published_class_lists()["hmdb51"]["classes"]


def camel(name):
    return "".join(word.capitalize() for word in name.split())


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("ApplyEyeMakeup", "apply eye makeup"),
        ("HandstandPushups", "hand stand pushups"),  # the folder; its videos are v_HandStandPushups
        ("HandStandPushups", "hand stand pushups"),
        ("Breaststroke", "breast stroke"),
        ("Basketball Shooting", "basketball"),
        ("Basketball", "basketball"),
        ("Salsa Spins", "salsa spin"),
        ("YoYo", "yo yo"),
        ("TaiChi", "tai chi"),
        ("001.Clean-And-Jerk", "clean and jerk"),
        ("7 baseball_pitch", "baseball pitch"),
        ("Walk Dog", "walking with dog"),
    ],
)
def test_each_spelling_of_a_ucf101_class_finds_it(name, known):
    assert positions([name], UCF101) == [UCF101.index(known)]


def test_digits_that_belong_to_a_name_are_kept():
    known = published_class_lists()["olympic16"]["classes"]
    assert positions(["diving_platform_10m", "3m"], known) == [known.index("diving platform 10m"), None]


def test_a_name_as_it_is_spelled_goes_before_its_other_names():
    assert positions(["weight lifting"], ["clean and jerk", "Weight Lifting"]) == [1]
    assert positions(["weight lifting"], ["clean and jerk", "snatch"]) == [0]


def test_what_two_known_names_share_decides_nothing():
    known = ["1 hand wave", "2 hand wave", "jump"]
    assert positions(["2_hand_wave", "Hand Wave", "3 jump"], known) == [1, None, 2]


@pytest.mark.parametrize("class_list", ["ucf101", "hmdb51", "olympic16"])
def test_no_two_classes_of_a_list_are_one(class_list):
    known = published_class_lists()[class_list]["classes"]
    for spell in (str.title, camel, lambda n: n.replace(" ", "_")):
        assert published_positions([spell(n) for n in known], class_list) == list(range(len(known)))


def test_a_list_is_found_by_its_names():
    assert published_list_of([camel(n) for n in reversed(UCF101)]) == "ucf101"
    assert published_list_of([n.replace(" ", "_") for n in HMDB51]) == "hmdb51"
    assert published_list_of(HMDB51[:-1]) is None
    assert published_list_of([*HMDB51[:-1], HMDB51[0]]) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda n: ["BrushHairs", *n[1:]], "class `BrushHairs` is none of the class list `hmdb51`; .* `brush hair`"),
        (lambda n: ["0", *n[1:]], "class `0` is none of the class list `hmdb51`$"),
        (lambda n: ["Wave", *n[1:]], "classes `Wave` and `wave` are both `wave` of the class list `hmdb51`"),
        (lambda n: n[1:], "class list `hmdb51` has 51 classes, the data set 50; `brush hair` is missing"),
    ],
)
def test_names_that_are_not_the_lists_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        published_positions(change(HMDB51), "hmdb51")
