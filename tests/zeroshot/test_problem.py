from dataclasses import replace

import numpy as np
import pytest
import torch
from made_frames import write_frames

from platform.datasets.contents import ClassInfo, ClassSplit, Contents, FeatureArray
from platform.datasets.folder import write_dataset
from platform.datasets.text import ClassText
from platform.errors import InputError
from platform.zeroshot.problem import ProblemOptions, class_semantics_of, load_problem

NAMES = ["bow", "clap", "drop", "eat", "fall", "wave"]
COUNT = 96


@pytest.fixture
def contents():
    """Six classes of sixteen samples, half of them for training; feature 0 is the sample's number, 1 its class."""
    labels = np.arange(COUNT) % 6
    return Contents(
        name="small",
        modality="skeleton",
        licence="none",
        source="made here",
        classes=[ClassInfo(name=n, attributes=[float(i), 1.0]) for i, n in enumerate(NAMES)],
        labels=labels,
        train=np.arange(COUNT) % 12 < 6,
        features={"f": FeatureArray(np.stack([np.arange(COUNT), labels], 1).astype(float), "none", "standard")},
        groups=np.arange(COUNT) // 12,
        splits={
            "ours": ClassSplit(unseen=["drop", "bow"], pseudo_unseen=[["eat", "wave"]], source="made up"),
            "other": ClassSplit(unseen=["eat", "fall"], source="made up"),
        },
        logits=labels[:, None] * 10.0 + np.arange(6),
    )


@pytest.fixture
def load(tmp_path):
    def load(contents, split="ours", **changes):
        folder = tmp_path / "data"
        write_dataset(contents, folder)
        text = ClassText(encoder="attributes", normalise=False)
        return load_problem(ProblemOptions(dataset=folder, split=split, text=text, **changes))

    return load


def class_of(task, samples):
    """The position in NAMES of each sample's class, by its label."""
    position = torch.tensor([NAMES.index(name) for name in (*task.seen, *task.unseen)])
    return position[samples.labels].tolist()


def test_a_task_holds_no_sample_of_an_unseen_class(contents, load):
    # samples of unseen classes stand in the official training partition too
    problem = load(contents)
    assert problem.task.features[:, 1].unique().tolist() == [1, 3, 4, 5]
    assert (problem.task.features[:, 0] % 12 < 6).all()
    assert len(problem.task.labels) == 4 * 8


@pytest.mark.parametrize(("unseen_test", "of_unseen"), [(None, 2 * 16), ("all", 2 * 16), ("partition", 2 * 8)])
def test_the_test_samples_were_not_trained_on(contents, load, unseen_test, of_unseen):
    problem = load(contents, unseen_test=unseen_test)
    seen = problem.test.labels < 4
    assert (problem.test.features[seen][:, 0] % 12 >= 6).all()
    assert (seen.sum(), (~seen).sum()) == (4 * 8, of_unseen)
    trained, tested = (set(s.features[:, 0].tolist()) for s in (problem.task, problem.test))
    assert not trained & tested


def test_classes_are_numbered_seen_first(contents, load):
    problem = load(contents)
    task = problem.task
    assert (task.seen, task.unseen) == (("clap", "eat", "fall", "wave"), ("drop", "bow"))
    for samples in (task, problem.test):
        assert class_of(task, samples) == samples.features[:, 1].int().tolist()
        assert torch.equal(samples.logits, samples.features[:, 1:] * 10 + torch.tensor([1, 3, 4, 5]))
    assert task.semantics.tolist() == [[i, 1.0] for i in (1, 3, 4, 5, 2, 0)]
    assert task.semantics.dtype == task.features.dtype == torch.float32


def test_a_class_without_training_samples_is_left_out(contents, load):
    problem = load(replace(contents, train=contents.train & (contents.labels != 4)))
    assert problem.task.seen == ("clap", "eat", "wave")
    assert 4 not in problem.test.features[:, 1]
    assert class_of(problem.task, problem.test) == problem.test.features[:, 1].int().tolist()


def test_subjects_are_known_or_not_used(contents, load):
    groups = contents.groups.copy()
    groups[5] = -1
    assert load(replace(contents, groups=groups)).task.groups is None


def test_the_final_fold_is_scaled_by_its_training_samples(contents, load):
    problem = load(contents)
    fold = problem.final()
    torch.testing.assert_close(fold.task.features.mean(0), torch.zeros(2), rtol=0, atol=1e-5)
    raw = problem.task.features
    expected = (problem.test.features - raw.mean(0)) / raw.std(0, correction=0)
    torch.testing.assert_close(fold.samples.features, expected)


def test_validation_knows_no_test_class_and_scales_by_its_own_training(contents, load):
    problem = load(contents)
    folds = problem.validation_folds(3, 0.2, 0, "minmax")
    assert set(folds[0].task.unseen) == {"eat", "wave"}  # published
    for fold in folds:
        assert set(fold.task.seen) | set(fold.task.unseen) == set(problem.task.seen)
        assert len(fold.task.labels) + len(fold.samples.labels) == len(problem.task.labels)
        assert (fold.task.features.amin(0), fold.task.features.amax(0)) == (
            pytest.approx(torch.zeros(2)),
            pytest.approx(torch.ones(2)),
        )
        raw = fold.samples.features * fold.normaliser.scale + fold.normaliser.shift
        assert set(raw[:, 0].round().int().tolist()) <= set(problem.task.features[:, 0].int().tolist())


def test_drawn_folds_differ_and_repeat(contents, load):
    problem = load(contents)
    drawn = [[f.task.unseen for f in problem.validation_folds(8, 0.2, seed)] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0][1:])) > 1


def separate(contents, unseen, classes):
    """A validation data set of some classes, with features of its own: the others' plus 1000."""
    chosen = np.isin(contents.labels, [NAMES.index(n) for n in classes])
    values = contents.features["f"].values[chosen] + [1000, 0]
    return replace(
        contents,
        labels=contents.labels[chosen],
        train=contents.train[chosen],
        groups=contents.groups[chosen],
        logits=contents.logits[chosen],
        features={"f": FeatureArray(values, "other")},
        splits={"given": ClassSplit(unseen=unseen, source="the validation folder")},
    )


def test_separate_validation_features_are_the_only_fold(contents, load):
    validation = separate(contents, ["eat", "wave"], ["clap", "eat", "fall", "wave"])
    problem = load(replace(contents, validation=validation))
    (fold,) = problem.validation_folds(2, 0.2, 0, "none")
    assert fold.task.unseen == ("eat", "wave")
    assert fold.task.features[:, 0].min() >= 1000
    # the extractor has been trained on all training samples of the others: none is held out from it
    assert problem.held_out(0.2, 0, "none") is None


def test_held_out_seen_samples_are_scored_among_the_final_classes(contents, load):
    problem = load(contents)
    fold = problem.held_out(0.2, 0, "none")
    assert (fold.task.seen, fold.task.unseen) == (problem.task.seen, problem.task.unseen)
    assert torch.equal(fold.task.semantics, problem.task.semantics)
    assert class_of(fold.task, fold.samples) == fold.samples.features[:, 1].int().tolist()
    assert fold.samples.labels.unique().tolist() == [0, 1, 2, 3]
    trained, held_out = (set(s.features[:, 0].tolist()) for s in (fold.task, fold.samples))
    assert not trained & held_out
    assert trained | held_out == set(problem.task.features[:, 0].tolist())


@pytest.mark.parametrize(
    ("unseen", "classes"),
    [
        (["drop", "wave"], ["clap", "drop", "fall", "wave"]),  # a test class plays the pseudo-unseen one
        (["eat", "wave"], NAMES),  # a test class is trained on
    ],
)
def test_separate_validation_features_of_another_split_are_not_used(contents, load, unseen, classes):
    problem = load(replace(contents, validation=separate(contents, unseen, classes)))
    (fold,) = problem.validation_folds(1, 0.2, 0, "none")
    assert fold.task.features[:, 0].max() < 1000
    assert not {"bow", "drop"} & {*fold.task.seen, *fold.task.unseen}


def test_the_semantics_of_some_classes(contents, tmp_path):
    dataset = write_dataset(contents, tmp_path / "data")
    text = ClassText(encoder="attributes", normalise=False)
    options = ProblemOptions(dataset=dataset.folder, split="ours", text=text)
    assert class_semantics_of(dataset, options, ["wave", "bow"]).tolist() == [[5, 1], [0, 1]]


@pytest.mark.parametrize(
    ("split", "train", "message"),
    [
        ("ours", lambda labels: labels == 1, "leaves 1 seen classes"),
        (
            "other",
            lambda labels: np.isin(labels, [3, 4]) | (np.arange(COUNT) < 48),
            "no test sample of an unseen class",
        ),
        ("other", lambda labels: ~np.isin(labels, [3, 4]), "no test sample of a seen class"),
    ],
)
def test_a_split_that_leaves_nothing_is_refused(contents, load, split, train, message):
    with pytest.raises(InputError, match=message):
        load(replace(contents, train=train(contents.labels)), split=split, unseen_test="partition")


def with_pixels(contents, side=2):
    """The pictures' first pixel is the sample's number."""
    values = np.zeros((COUNT, 3 * side * side), np.uint8)
    values[:, 0], values[:, 1] = np.arange(COUNT), contents.labels
    pixels = FeatureArray(values, "made here", kind="pixels")
    return replace(contents, features={**contents.features, "pixels": pixels}, logits=None)


def test_pixels_stay_bytes_from_the_folder_to_every_fold(contents, load):
    problem = load(with_pixels(contents), features="pixels")
    folds = [problem.final(), *problem.validation_folds(2, 0.2, 0)]
    for samples in (problem.task, problem.test, *(s for f in folds for s in (f.task, f.samples))):
        assert samples.features.dtype == torch.uint8
        assert samples.features.shape == (len(samples.labels), 12)
    assert class_of(problem.task, problem.task) == problem.task.features[:, 1].tolist()
    assert folds[0].task.features is problem.task.features
    held_out = {*folds[1].task.features[:, 0].tolist(), *folds[1].samples.features[:, 0].tolist()}
    assert held_out == set(problem.task.features[:, 0].tolist())


def test_masked_features_are_of_the_same_kind(contents, load):
    contents = with_pixels(contents)
    numbers = FeatureArray(np.ones((COUNT, 12)), "none")
    with pytest.raises(InputError, match="--masked-features n: numbers, but `pixels` is pixels"):
        load(replace(contents, features={**contents.features, "n": numbers}), features="pixels", masked_features="n")


def test_frames_are_loaded_as_views_and_folds_hold_views(contents, load, tmp_path):
    frames = write_frames(tmp_path / "f.arrow", np.random.default_rng(0).integers(0, 255, (COUNT, 2, 3)))
    numbers = contents.features["f"]
    given = replace(contents, features={"f": numbers, "frames": FeatureArray(frames, "x", kind="frames")})
    problem = load(given, features="frames")
    same = load_problem(
        ProblemOptions(dataset=tmp_path / "data", split="ours", text=ClassText(encoder="attributes", normalise=False))
    )
    folds = [p.validation_folds(2, 0.2, 0)[1] for p in (problem, same)]
    finals = [p.final() for p in (problem, same)]
    for ours, theirs in (folds, finals):
        for one, other in ((ours.task, theirs.task), (ours.samples, theirs.samples)):
            rows = (theirs.normaliser.scale[0] * other.features[:, 0] + theirs.normaliser.shift[0]).round().int()
            assert [one.features.key(i) for i in range(len(rows))] == [frames.key(i) for i in rows.tolist()]
            assert torch.equal(one.labels, other.labels)
    with pytest.raises(InputError, match="--normalise standard: the features are frames"):
        problem.final("standard")
