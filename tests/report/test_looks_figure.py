from dataclasses import dataclass

import pytest
import torch
from made_frames import write_pictures
from test_inspection import Given

from platform.report.inspection import inspect
from platform.report.localities import looking, telling
from platform.zeroshot.steps import Steps
from platform.zeroshot.task import Samples

SIDE = 4


@dataclass(frozen=True)
class Looks(Given):
    """Takes one look of two, at the left half of a picture; the first pixels are all that it sees."""

    def unseen_scores(self, x):
        return x[:, 2:4].float().log_softmax(dim=1)

    def seen_scores(self, x):
        return x[:, :2].float().log_softmax(dim=1)

    def scores(self, x):
        return x[:, :4].float()

    def curve_scores(self, x):
        return x[:, :4].float()

    def latents(self, x):
        return {}

    def clusters(self, x):
        return {}

    def steps(self, x):
        at_first, after = x[:, 4].long(), self.unseen_scores(x).argmax(dim=1)
        boxes = torch.tensor([[0.0, 0, 2, 4], [2, 0, 4, 4]]).expand(len(x), 2, 4)
        confidences = torch.tensor([0.5, 0.75, 0.9]).expand(len(x), 3)
        return Steps(torch.stack([at_first, after, 1 - after], dim=1), confidences, torch.ones(len(x)).long(), boxes)


@pytest.fixture
def model():
    return Looks(seen=("bow", "clap"), unseen=("hop", "wave"), combination=None)


@pytest.fixture
def samples():
    """Of labels 0, 2, 2, 2, 3: by the unseen ones right from the first, by the look, no longer, and by the look."""
    x = torch.zeros(5, 3 * SIDE**2, dtype=torch.uint8)
    x[:, :5] = torch.tensor([[9, 0, 0, 0, 0], [0, 0, 9, 0, 0], [0, 0, 9, 0, 1], [0, 0, 0, 9, 0], [0, 0, 0, 9, 0]])
    return Samples(x, torch.tensor([0, 2, 2, 2, 3]))


def test_encoded_pictures_are_shown_as_those_in_memory(model, samples, tmp_path):
    class OfPixels(Looks):
        def steps(self, x):
            return super().steps(x.decoded().flatten(1))

    unseen = samples.where(samples.labels >= 2)
    encoded = write_pictures(tmp_path / "p.arrow", unseen.features.view(-1, 3, SIDE, SIDE))
    found = looking(OfPixels(model.seen, model.unseen, None), Samples(encoded, unseen.labels))
    expected = looking(model, unseen)
    assert [own.picture.tolist() for own in found.pictures] == [own.picture.tolist() for own in expected.pictures]


def test_accuracies_and_failures_are_of_the_unseen_samples(model, samples):
    found = looking(model, samples.where(samples.labels >= 2))
    assert found.accuracies.tolist() == pytest.approx([1 / 3, 5 / 6, 5 / 6])
    assert found.failures.tolist() == [1, 0]


def test_pictures_are_shown_with_the_looks_that_were_taken(model, samples):
    shown, *others = looking(model, samples.where(samples.labels >= 2)).pictures
    assert shown.picture.tolist() == samples.features[2].view(3, SIDE, SIDE).permute(1, 2, 0).tolist()
    assert shown.boxes.tolist() == [[0, 0, 2, 4]]
    assert shown.confidences.tolist() == pytest.approx([0.5, 0.75])
    assert (shown.right.tolist(), shown.true, shown.predicted) == ([False, True], "hop", "hop")
    assert [(other.true, other.predicted) for other in others] == [("hop", "hop"), ("hop", "wave"), ("wave", "wave")]


def test_large_pictures_become_small_ones(model, monkeypatch):
    monkeypatch.setattr("platform.report.localities._SIDE", 2)
    values = torch.arange(3 * SIDE**2, dtype=torch.uint8)[None]
    (shown,) = looking(model, Samples(values, torch.tensor([2]))).pictures
    assert shown.stored == SIDE
    assert shown.picture[..., 0].tolist() == [[2, 4], [10, 12]]  # means of 2 × 2, halves to even: 2.5, 4.5, 10.5, 12.5


def test_each_kind_of_sample_is_shown_in_turn():
    predictions = torch.tensor([[0, 0], [0, 0], [1, 1], [1, 1], [0, 1], [1, 0]])
    steps = Steps(predictions, torch.ones(6, 2), torch.ones(6, dtype=torch.long), torch.zeros(6, 1, 4))
    labels = torch.zeros(6, dtype=torch.long)
    assert telling(steps, labels) == [5, 0, 2, 1]
    assert telling(steps, labels, 9) == [5, 0, 2, 1, 3, 4]


def test_a_model_without_steps_or_pictures_shows_none(samples):
    unseen = samples.where(samples.labels >= 2)
    assert looking(Given(("bow", "clap"), ("hop", "wave"), None), unseen) is None
    numbers = Samples(unseen.features.float(), unseen.labels)
    found = looking(Looks(("bow", "clap"), ("hop", "wave"), None), numbers)
    assert found.pictures == ()
    assert found.failures.tolist() == [1, 0]


def test_it_is_drawn(model, samples):
    assert set(inspect(model, samples).figures()) == {
        "confusion over all classes",
        "looks at some pictures of unseen classes",
    }
