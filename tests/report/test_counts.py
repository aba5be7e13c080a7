"""What accuracies were measured on, in words."""

import pytest

from platform.report.chance import chance_of
from platform.report.counts import behind_a_mean, measured_on

FIVE = {"seen": 22, "unseen": 5, "seen_samples": 350, "unseen_samples": 80}


@pytest.mark.parametrize(
    ("classes", "said"),
    [(5, "5 classes, chance 20.0 %"), (1, "1 class, chance 100.0 %"), (13, "13 classes, chance 7.7 %")],
)
def test_chance_is_one_in_so_many_classes(classes, said):
    assert chance_of(classes) == said


def test_a_test_says_its_classes_chance_and_samples():
    assert measured_on([FIVE, FIVE]) == (
        "ZSL among 5 classes, chance 20.0 %; s, u and H over 22 seen and 5 unseen ones; 80 test samples of unseen "
        "classes, 350 of seen ones"
    )


def test_splits_of_different_sizes_are_said_as_ranges():
    other = {"seen": 14, "unseen": 13, "seen_samples": 1222, "unseen_samples": 208}
    said = measured_on([FIVE, other])
    assert said.startswith("ZSL among 5 to 13 classes, chance 7.7 to 20.0 %; s, u and H over 14 to 22 seen and 5 to 13")
    assert said.endswith("80 to 208 test samples of unseen classes, 350 to 1,222 of seen ones")


def test_what_an_older_run_did_not_record_is_said():
    assert measured_on([{}]) == ""
    assert measured_on([{"seen": 22, "unseen": 5}]).endswith("the number of test samples was not recorded")


@pytest.mark.parametrize(
    ("numbers", "splits", "said"),
    [
        ([6, 6], 3, "n = 6 (2 seeds × 3 splits)"),
        ([2, 5], 1, "n = 2 to 5"),
        ([3], 3, "n = 3 (1 seed × 3 splits)"),
        ([7], 3, "n = 7"),
        ([4], 1, "n = 4"),
    ],
)
def test_how_many_tests_a_mean_has(numbers, splits, said):
    assert behind_a_mean(numbers, splits) == said
