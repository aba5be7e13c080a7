"""What is said of the classes that a search is validated on."""

import weakref
from dataclasses import replace

import pytest
import torch

from platform.search.validation import classes_of_folds, folds_by_split, validated_on
from platform.training.protocols import ProtocolOptions
from platform.zeroshot.task import hold_out


def counted(folds):
    return [(len(fold.task.unseen), len(fold.task.seen) + len(fold.task.unseen)) for fold in folds]


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("kind", ["drawn", "published", "separate"])
def test_the_counts_are_those_of_the_folds(problem, kind, count):
    if kind != "drawn":
        problem = replace(problem, published_folds=[["seen 0", "seen 1"], ["seen 2"]])
    if kind == "separate":
        task = replace(problem.task, unseen=(), semantics=problem.task.semantics[:8])
        names = ["seen 3", "seen 5", "seen 6", "seen 7"]
        problem = replace(problem, separate_validation=hold_out(task, names, 0.2, torch.Generator()))
    options = ProtocolOptions(folds=count)
    expected = counted(problem.validation_folds(count, options.seen_fraction, options.fold_seed))
    assert classes_of_folds(problem, options) == expected
    assert expected[0][0] == {"drawn": 3, "published": 2, "separate": 4}[kind]


def test_one_split_is_read_and_let_go_before_the_next(problem):
    class Data:
        splits, read = ("a", "b", "c"), []

        def loaded(self, split):
            assert all(earlier() is None for earlier in self.read)
            found = replace(problem)
            self.read.append(weakref.ref(found))
            return found

    data, options = Data(), ProtocolOptions(folds=2)
    assert folds_by_split(data, options) == dict.fromkeys("abc", classes_of_folds(problem, options))
    assert len(data.read) == 3


def test_chance_stands_beside_the_count_of_classes():
    assert validated_on({"two": [(2, 6)]}) == (
        "validation: ZSL of 2 classes, chance 50.0 %; s, u and H of 6 classes, chance 16.7 %; 1 fold"
    )
    assert validated_on({"two": [(4, 8), (5, 8)]}) == (
        "validation: ZSL of 4 classes, chance 25.0 % or 5 classes, chance 20.0 %; s, u and H of 8 classes, "
        "chance 12.5 %; 2 folds"
    )


def test_splits_are_named_where_they_differ():
    assert validated_on({"a": [(5, 22)], "b": [(5, 22)]}) == validated_on({"a": [(5, 22)]})
    assert validated_on({"ru5": [(5, 22)], "ru9": [(9, 18)], "other": [(5, 22)]}) == (
        "validation: ru5, other: ZSL of 5 classes, chance 20.0 %; s, u and H of 22 classes, chance 4.5 %; 1 fold | "
        "ru9: ZSL of 9 classes, chance 11.1 %; s, u and H of 18 classes, chance 5.6 %; 1 fold"
    )
