import pytest
import torch

from platform.zeroshot.metrics import per_class_accuracy
from platform.zeroshot.steps import Steps


@pytest.fixture
def steps():
    """Four samples, three looks, two classes; the last sample stops after two."""
    return Steps(
        predictions=torch.tensor([[0, 0, 1, 1], [1, 0, 1, 0], [1, 1, 1, 1], [0, 1, 1, 0]]),
        confidences=torch.full((4, 4), 0.5),
        taken=torch.tensor([3, 3, 3, 2]),
        boxes=torch.zeros(4, 3, 4),
    )


def test_a_model_that_has_stopped_keeps_its_answer(steps):
    assert steps.held().tolist() == [[0, 0, 1, 1], [1, 0, 1, 0], [1, 1, 1, 1], [0, 1, 1, 1]]
    assert steps.average == 2.75


def test_failures_are_told_by_the_look_that_brought_them(steps):
    assert steps.failures(torch.zeros(4, dtype=torch.long)).tolist() == [2, 0, 0, 1]
    assert steps.failures(torch.ones(4, dtype=torch.long)).tolist() == [0, 3, 0, 0]


def test_accuracies_are_means_over_classes_and_the_last_is_that_at_the_stop(steps):
    labels = torch.tensor([0, 0, 0, 1])
    accuracies = steps.accuracies(labels)
    assert accuracies.tolist() == pytest.approx([1 / 6, (2 / 3 + 1) / 2, 1 / 2, (1 / 3 + 1) / 2])
    at_the_stop = steps.predictions[torch.arange(4), steps.taken]
    assert accuracies[-1] == per_class_accuracy(at_the_stop, labels)
