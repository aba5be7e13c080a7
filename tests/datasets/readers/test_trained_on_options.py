import pytest

from platform.datasets.contents import ClassSplit
from platform.datasets.readers.trained_on_options import as_said
from platform.datasets.trained_on import UNKNOWN, TrainedOn
from platform.errors import InputError

NAMES = ["bow", "clap", "drop", "hand wave"]
KNOWN = TrainedOn(classes=("bow",), other=("ntu60",), source="the layout")


def said(classes=None, pretrained=None, known=KNOWN):
    return as_said(known, classes, pretrained, NAMES, lambda name: ClassSplit(unseen=[name], source="made up"))


def test_what_is_not_said_stays_as_it_is_known():
    assert said() == KNOWN
    found = said(classes="none")
    assert (found.classes, found.other, found.source) == ("none", ("ntu60",), "the layout; as its user says")
    found = said(pretrained="none")
    assert (found.classes, found.other) == (("bow",), "none")
    assert said("none", "none", UNKNOWN) == TrainedOn(classes="none", other="none", source="as its user says")


@pytest.mark.parametrize(
    ("classes", "expected"),
    [("none", "none"), ("unknown", "unknown"), ("all", tuple(NAMES)), ("seen:clap", ("bow", "drop", "hand wave"))],
)
def test_classes_are_said_in_words_or_by_a_split(classes, expected):
    assert said(classes).classes == expected


def test_classes_stand_in_a_file_however_they_are_spelled(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_text("HandWave\nClap\n\n")
    assert said(str(path)).classes == ("clap", "hand wave")
    path.write_text("Clap\nfly\n")
    with pytest.raises(
        InputError, match=r"classes\.txt: `fly` is no class of this data set; the classes are bow, clap"
    ):
        said(str(path))
    path.write_text("\n")
    with pytest.raises(InputError, match="names no class"):
        said(str(path))


@pytest.mark.parametrize(
    ("pretrained", "expected"),
    [("none", "none"), ("unknown", "unknown"), ("ntu60, Kinetics-400", ("ntu60", "Kinetics-400"))],
)
def test_other_data_are_said_by_name(pretrained, expected):
    assert said(pretrained=pretrained).other == expected


@pytest.mark.parametrize(
    ("classes", "pretrained", "message"),
    [
        ("some", None, "--trained-on-classes some: expected none, all, seen:SPLIT, unknown, or a .txt file of names"),
        ("no.txt", None, r"no\.txt: cannot be read"),
        (None, ",", "--pretrained-on ,: expected none, unknown, or names of data"),
        (None, "none,ntu60", "--pretrained-on none,ntu60: expected none, unknown"),
    ],
)
def test_what_cannot_be_said_is_refused(classes, pretrained, message):
    with pytest.raises(InputError, match=message):
        said(classes, pretrained)
