import numpy as np
import pytest
from verbs import write_small_dataset

from platform.datasets.contents import ClassInfo, ClassSplit, Contents, FeatureArray, Skeletons
from platform.datasets.folder import write_dataset
from platform.datasets.trained_on import NOT_TRAINED, TrainedOn
from platform.next_step import next_step


def data(folder, classes=10, samples=4, splits=None, trained_on=NOT_TRAINED, train=None, **others):
    labels = np.tile(np.arange(classes), samples)
    values = np.arange(len(labels), dtype=np.float32)[:, None]
    contents = Contents(
        name="small",
        modality="skeleton",
        licence="none",
        source="made here",
        classes=[ClassInfo(name=f"class {c}") for c in range(classes)],
        labels=labels,
        train=np.arange(len(labels)) % (2 * classes) < classes if train is None else train(labels),
        splits={name: ClassSplit(unseen=unseen, source="made up") for name, unseen in (splits or {}).items()},
        **{"features": {"f": FeatureArray(values, "x", trained_on=trained_on)}} | others,
    )
    return write_dataset(contents, folder)


def split_of(dataset, *arguments):
    """The split in the command that is suggested."""
    words = next_step(dataset, *arguments)[-1].split()
    return words[words.index("--split") + 1]


def test_few_samples_are_searched_in_a_space_that_is_made_for_them(tmp_path):
    why, command = next_step(data(tmp_path / "small", splits={"two": ["class 1", "class 2"]}))
    assert why.startswith("16 training samples are few")
    assert command == (
        f"Next: python -m platform.tune methods.sadvae --dataset {tmp_path / 'small'} --split two "
        "--space search_spaces/sadvae_small.yaml"
    )


def test_enough_samples_are_trained_on_as_in_the_papers(tmp_path):
    (command,) = next_step(data(tmp_path / "large", samples=8000))
    assert command == f"Next: python -m platform.train methods.sadvae --dataset {tmp_path / 'large'} --split random:2:0"


def test_the_seen_classes_count_alone(tmp_path):
    large = data(tmp_path / "large", samples=8000, splits={"half": [f"class {c}" for c in range(5)]})
    assert next_step(large)[0].startswith("20,000 training samples are few")


def test_a_set_that_is_named_stands_in_the_command(tmp_path):
    dataset = data(tmp_path / "small", splits={"one": ["class 1", "class 2"], "two": ["class 3", "class 4"]})
    assert "--split two --features f --space" in next_step(dataset, ["two"], "f")[-1]


@pytest.mark.parametrize(("classes", "expected"), [(50, "random:10:0"), (27, "random:5:0"), (4, "random:2:0")])
def test_without_a_split_a_fifth_of_the_classes_are_drawn_and_never_one(tmp_path, classes, expected):
    assert split_of(data(tmp_path / "small", classes=classes)) == expected


def test_a_split_of_one_unseen_class_is_passed_over(tmp_path):
    dataset = data(tmp_path / "small", splits={"one": ["class 1"], "two": ["class 1", "class 2"]})
    assert split_of(dataset, ["one"]) == "two"


def test_a_split_that_the_extractor_has_seen_is_passed_over(tmp_path):
    splits = {"own": ["class 8", "class 9"], "other": ["class 7", "class 8"]}
    trained_on = TrainedOn(classes=tuple(f"class {c}" for c in range(8)), other="none")
    assert split_of(data(tmp_path / "small", splits=splits, trained_on=trained_on), ["other"]) == "own"


def test_a_drawn_split_must_leave_something_to_train_and_to_test(tmp_path):
    dataset = data(tmp_path / "small", train=lambda labels: labels < 8)  # classes 8 and 9 can be tested alone
    (line,) = next_step(dataset)
    assert line.startswith("No class split of it can be trained and tested: that takes two seen classes")


def test_skeletons_without_features_need_an_extractor(tmp_path):
    clips = Skeletons([np.ones((2, 1, 13, 3), np.float32)] * 40, "penn_13")
    (line,) = next_step(data(tmp_path / "small", features={}, skeletons=clips))
    assert line.startswith("Next: extract features")


def test_what_is_suggested_can_be_trained_and_tested(tmp_path):
    from platform.datasets.folder import Dataset
    from platform.datasets.text import ClassText
    from platform.zeroshot.problem import ProblemOptions, load_problem

    dataset = Dataset(write_small_dataset(tmp_path / "small"))
    text = ClassText(encoder="attributes")
    problem = load_problem(ProblemOptions(dataset=dataset.folder, split=split_of(dataset), text=text))
    assert len(problem.task.unseen) > 1
