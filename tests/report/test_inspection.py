from dataclasses import dataclass

import pytest
import torch

from platform.method import Model
from platform.report.inspection import inspect
from platform.zeroshot.task import Samples


@dataclass(frozen=True)
class Given(Model):
    """A model whose features are its scores of two seen and two unseen classes."""

    def unseen_scores(self, x):
        return x[:, 2:].log_softmax(dim=1)

    def seen_scores(self, x):
        return x[:, :2].log_softmax(dim=1)

    def scores(self, x):
        return x

    def curve_scores(self, x):
        return x

    def latents(self, x):
        return {"z": x}

    def clusters(self, x):
        return {"before": x.argmax(dim=1), "after": x.argmin(dim=1)}

    def with_classes(self, names, semantics):
        return self

    def state(self):
        return {}, {}

    @classmethod
    def from_state(cls, tensors, values):
        raise NotImplementedError


@pytest.fixture
def inspected():
    model = Given(seen=("bow", "clap"), unseen=("hop", "wave"), combination=None)
    decided = torch.tensor([0, 1, 1, 2, 0, 3])  # over all classes
    scores = torch.nn.functional.one_hot(decided, 4).float() * 2
    scores[4, 2] = 1.0  # taken for a seen class, but right among the unseen
    return inspect(model, Samples(scores, torch.tensor([0, 0, 1, 2, 2, 2])))


def test_decisions_are_counted_class_by_class(inspected):
    assert inspected.confusion.tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 1, 1], [0, 0, 0, 0]]
    assert inspected.unseen_accuracies == {"hop": pytest.approx(2 / 3)}


def test_the_curve_goes_from_all_seen_to_all_unseen(inspected):
    seen, unseen = inspected.curve
    assert (seen[0], seen[-1]) == (0.75, 0)
    assert (unseen[0], unseen[-1]) == (0, pytest.approx(2 / 3))
    assert 0 < inspected.ausuc < 1


def test_it_is_drawn(inspected):
    assert set(inspected.figures()) == {
        "confusion over all classes",
        "t-SNE of z",
        "share of each class in each cluster, before and after",
    }
