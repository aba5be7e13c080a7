"""What is said of a configuration that was chosen for several splits at once."""

import pytest
from verbs import write_small_dataset

from platform.datasets.folder import Dataset
from platform.report.selection import best_folders, chosen_together


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return Dataset(write_small_dataset(tmp_path_factory.mktemp("data") / "small"))


def test_unseen_classes_that_another_split_sees_are_counted(dataset):
    """`seen` has bow, hop and wave unseen, `two` hop and wave, `one` kick and wave. What two others see counts once."""
    assert chosen_together(dataset, ["two", "one"]) == (
        "chosen together over splits: 1 of the 2 unseen classes of `two`, 1 of the 2 unseen classes of `one` are seen "
        "in another split of the selection"
    )
    assert chosen_together(dataset, ["one", "two", "seen"]) == (
        "chosen together over splits: 1 of the 2 unseen classes of `one`, 1 of the 2 unseen classes of `two`, 2 of the "
        "3 unseen classes of `seen` are seen in another split of the selection"
    )


def test_nothing_is_said_where_no_other_split_sees_them(dataset):
    assert chosen_together(dataset, ["two"]) == ""
    assert chosen_together(dataset, ["half:0", "half:0"]) == ""


def test_each_choice_has_a_folder_of_its_own():
    assert best_folders("together", ["a", "b"]) == {"": ("a", "b")}
    assert best_folders("per-split", ["a"]) == {"": ("a",)}
    apart = best_folders("per-split", ["random:5:0", "55/5", "55%2F5"])
    assert list(apart.values()) == [("random:5:0",), ("55/5",), ("55%2F5",)]
    assert not any("/" in folder for folder in apart)
