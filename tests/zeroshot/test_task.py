from dataclasses import replace

import pytest
import torch
from made_frames import first_pixels, greys, write_frames

from platform.errors import InputError
from platform.population.draws import generator
from platform.zeroshot.task import Samples, Task, draw_pseudo_unseen, hold_out, pictures_of

COUNT = 60


@pytest.fixture
def task():
    """Six seen classes, ten samples each, of five subjects; feature 0 is the sample's number, the others its class."""
    labels = torch.arange(COUNT) % 6
    features = torch.stack([torch.arange(COUNT), labels], dim=1).float()
    return Task(
        seen=("a", "b", "c", "d", "e", "f"),
        unseen=("x", "y"),
        features=features,
        labels=labels,
        semantics=torch.arange(8.0)[:, None].expand(8, 3),
        logits=labels[:, None] * 10.0 + torch.arange(6),
        groups=torch.arange(COUNT) // 12,
    )


def held_out(task, names=("b", "e"), fraction=0.2, seed=0):
    return hold_out(task, names, fraction, generator(seed))


def numbers(samples):
    return set(samples.features[:, 0].int().tolist())


@pytest.mark.parametrize("grouped", [True, False])
def test_no_sample_of_a_pseudo_unseen_class_stays_in_training(task, grouped):
    smaller, scored = held_out(task if grouped else replace(task, groups=None))
    assert smaller.features[:, 1].unique().tolist() == [0, 2, 3, 5]
    assert (scored.features[:, 1] == 1).sum() == (scored.features[:, 1] == 4).sum() == 10
    assert numbers(smaller) | numbers(scored) == set(range(COUNT))
    assert not numbers(smaller) & numbers(scored)


def test_labels_semantics_and_logits_follow_the_new_order(task):
    smaller, scored = held_out(task)
    assert (smaller.seen, smaller.unseen) == (("a", "c", "d", "f"), ("b", "e"))
    original = torch.tensor([0, 2, 3, 5, 1, 4])
    assert smaller.semantics[:, 0].tolist() == original.tolist()
    for samples in (smaller, scored):
        assert torch.equal(original[samples.labels].float(), samples.features[:, 1])
        expected = samples.features[:, 1:] * 10 + original[:4]
        assert torch.equal(samples.logits, expected)
    assert smaller.labels.max() == 3


def test_whole_groups_are_held_out(task):
    smaller, scored = held_out(task)
    seen = scored.where(scored.labels < 4)
    groups = set((seen.features[:, 0].int() // 12).tolist())
    assert len(groups) == 1
    assert not groups & set(smaller.groups.tolist())
    assert torch.equal(smaller.groups, smaller.features[:, 0].long() // 12)


def test_groups_that_would_take_a_whole_class_are_not_used(task):
    alone = replace(task, groups=task.labels)  # each class has a subject of its own
    smaller, _ = held_out(alone)
    assert torch.bincount(smaller.labels).tolist() == [8, 8, 8, 8]


def test_without_groups_each_class_gives_its_share(task):
    _, scored = held_out(replace(task, groups=None), fraction=0.3)
    assert torch.bincount(scored.labels).tolist() == [3, 3, 3, 3, 10, 10]


def test_every_class_keeps_a_sample_in_training(task):
    rows = torch.arange(12)  # two samples a class
    few = replace(task, features=task.features[rows], labels=task.labels[rows], logits=None, groups=None)
    smaller, scored = held_out(few, fraction=0.9)
    assert torch.bincount(smaller.labels).tolist() == [1, 1, 1, 1]
    assert torch.bincount(scored.labels).tolist() == [1, 1, 1, 1, 2, 2]


def test_the_draw_decides_and_repeats(task):
    ungrouped = replace(task, groups=None)
    assert numbers(held_out(ungrouped, seed=1)[0]) == numbers(held_out(ungrouped, seed=1)[0])
    assert numbers(held_out(ungrouped, seed=1)[0]) != numbers(held_out(ungrouped, seed=2)[0])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["x"], "`x` is not among the seen classes"),
        (["a", "b", "c", "d", "e"], "at least two must stay seen"),
    ],
)
def test_names_that_cannot_be_held_out_are_refused(task, names, message):
    with pytest.raises(InputError, match=message):
        held_out(task, names)


def test_with_no_pseudo_unseen_class_the_unseen_ones_stay(task):
    smaller, scored = held_out(task, [])
    assert (smaller.seen, smaller.unseen) == (task.seen, task.unseen)
    assert torch.equal(smaller.semantics, task.semantics)
    assert scored.labels.max() < len(task.seen)
    assert not numbers(smaller) & numbers(scored)
    assert numbers(smaller) | numbers(scored) == numbers(task)


def test_as_many_pseudo_unseen_classes_as_unseen_ones_are_drawn(task):
    drawn = {tuple(draw_pseudo_unseen(task, 0, seed)) for seed in range(20)}
    assert all(len(set(names)) == 2 and set(names) <= set(task.seen) for names in drawn)
    assert len(drawn) > 5
    many = replace(task, unseen=tuple("uvwxyz"))
    assert len(draw_pseudo_unseen(many, 0, 0)) == 3  # at most half


def test_folds_share_no_class_until_the_classes_are_used_up(task):
    folds = [draw_pseudo_unseen(task, fold, 0) for fold in range(4)]
    assert sorted(name for names in folds[:3] for name in names) == list(task.seen)
    assert set(folds[3]) <= set(task.seen)


def test_samples_are_taken_by_a_mask(task):
    samples = Samples(task.features, task.labels, task.logits)
    taken = samples.where(samples.labels == 3)
    assert taken.labels.unique().tolist() == [3]
    assert len(taken.features) == len(taken.logits) == 10
    assert Samples(task.features, task.labels).where(samples.labels == 3).logits is None


def test_encoded_frames_are_held_out_as_views(task, tmp_path):
    frames = write_frames(tmp_path / "f.arrow", greys(COUNT) % 256)
    smaller, scored = held_out(replace(task, features=frames))
    expected, expected_scored = held_out(task)
    for found, known in ((smaller, expected), (scored, expected_scored)):
        rows = known.features[:, 0].long().numpy()
        assert [found.features.key(i) for i in range(len(rows))] == [frames.key(i) for i in rows]
        assert torch.equal(found.labels, known.labels)
    seen = scored.where(scored.labels < 4)
    assert len(seen.features) == len(seen.labels)
    assert pictures_of(frames, slice(2)) is None


def test_a_task_of_encoded_frames_goes_to_a_device(task, tmp_path):
    frames = write_frames(tmp_path / "f.arrow", greys(COUNT) % 256)
    moved = replace(task, features=frames).to(torch.device("meta"))
    assert moved.features.device == moved.labels.device == torch.device("meta")
    assert task.samples().to(torch.device("meta")).features.device == torch.device("meta")
    assert first_pixels(moved.features.to("cpu").decoded([1])).tolist() == (greys(COUNT)[[1]] % 256).tolist()
