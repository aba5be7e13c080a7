import numpy as np
import pytest
from skeletons import CLASSES, small_contents, write_small

from platform.datasets.contents import ClassSplit
from platform.datasets.folder import Dataset
from platform.datasets.text import ClassText
from platform.errors import InputError
from platform.features.selection import fold_selection, seen_selection
from platform.training.protocols import ProtocolOptions
from platform.zeroshot.problem import ProblemOptions, load_problem


def named(dataset, rows):
    return {dataset.class_names[label] for label in dataset.labels[rows]}


def test_only_the_training_partition_of_seen_classes_is_trained_on(small_skeletons):
    dataset = Dataset(small_skeletons)
    selection = seen_selection(dataset, dataset.split("two"))
    assert selection.seen == ("bow", "clap", "raise")
    assert named(dataset, selection.rows) == named(dataset, selection.test_rows) == set(selection.seen)
    assert dataset.train[selection.rows].all()
    assert not dataset.train[selection.test_rows].any()
    assert (len(selection.rows), len(selection.test_rows)) == (18, 18)
    for rows, labels in ((selection.rows, selection.labels), (selection.test_rows, selection.test_labels)):
        assert [selection.seen[label] for label in labels] == [dataset.class_names[i] for i in dataset.labels[rows]]


@pytest.mark.parametrize("fold_seed", [0, 1, 2])
@pytest.mark.parametrize("split", ["one", "two"])
def test_a_fold_is_the_one_that_the_clean_protocol_draws(small_skeletons, split, fold_seed):
    dataset = Dataset(small_skeletons)
    options = ProtocolOptions()
    selection = fold_selection(dataset, dataset.split(split), options.seen_fraction, fold_seed)
    problem = load_problem(
        ProblemOptions(dataset=small_skeletons, split=split, features="row", text=ClassText(encoder="attributes"))
    )
    (fold,) = problem.validation_folds(1, options.seen_fraction, fold_seed)
    assert selection.rows.tolist() == fold.task.features[:, 0].int().tolist()
    held = np.concatenate([selection.test_rows, selection.pseudo_rows])
    assert sorted(held.tolist()) == sorted(fold.samples.features[:, 0].int().tolist())
    assert (selection.seen, selection.pseudo_unseen) == (fold.task.seen, fold.task.unseen)


def test_a_fold_sees_no_pseudo_unseen_class_no_held_out_subject_and_nothing_of_the_test_partition(small_skeletons):
    dataset = Dataset(small_skeletons)
    selection = fold_selection(dataset, dataset.split("two"), 0.2, 0)
    assert named(dataset, selection.rows) == set(selection.seen)
    assert not set(selection.seen) & {*selection.pseudo_unseen, "kick", "wave"}
    assert named(dataset, selection.pseudo_rows) == set(selection.pseudo_unseen)
    subjects = dataset.groups
    assert not set(subjects[selection.rows]) & set(subjects[selection.test_rows])
    assert dataset.train[np.concatenate([selection.rows, selection.test_rows, selection.pseudo_rows])].all()


def test_a_published_fold_comes_first(tmp_path):
    dataset = Dataset(write_small(tmp_path / "small"))
    split = ClassSplit(unseen=["wave"], pseudo_unseen=[["clap"], ["kick"]], source="made up")
    assert fold_selection(dataset, split, 0.2, 0).pseudo_unseen == ("clap",)


def test_a_split_that_leaves_one_class_is_refused(tmp_path):
    dataset = Dataset(write_small(tmp_path / "small"))
    with pytest.raises(InputError, match="1 seen classes have training samples; two are needed"):
        seen_selection(dataset, ClassSplit(unseen=CLASSES[1:], source="made up"))


def test_the_data_of_these_tests_are_sound():
    small_contents(odd=True).check()
