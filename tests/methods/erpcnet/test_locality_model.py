import pickle
from dataclasses import replace

import pytest
import torch
from made_erpcnet import STORED, UNSEEN, VARIANTS, config, fitted, make_task

from platform.method import Member


def test_a_trace_tells_steps_and_boxes():
    task, x = make_task()
    _, (model,) = fitted([Member(task, config(epochs=2), 0)], 2)
    trace = model.trace(x, "unseen")
    assert trace.cells.shape == (6, 3)
    assert trace.boxes.shape == (6, 3, 4)
    assert trace.log_probabilities.shape == (6, 4, UNSEEN)
    steps = model.steps(x)
    assert set(steps.taken.tolist()) <= {1, 2, 3}
    scores = model.unseen_scores(x)
    assert torch.equal(steps.held()[:, -1], scores.argmax(dim=1))
    at_the_stop = steps.confidences[torch.arange(6), steps.taken]
    torch.testing.assert_close(at_the_stop, scores.exp().amax(dim=1))
    assert torch.equal(steps.boxes, trace.boxes + 4)  # 64 of 72 pixels are scored
    assert steps.boxes.amax() <= STORED


@pytest.mark.parametrize(("kind", "taken"), [("GlobalNet", None), ("PCNet", 3)])
def test_without_a_policy_a_model_takes_all_steps_or_none(kind, taken):
    task, x = make_task()
    _, (model,) = fitted([Member(task, config(**VARIANTS[kind], epochs=1), 0)])
    steps = model.steps(x)
    assert steps is None if taken is None else steps.taken.tolist() == [taken] * len(x)


def test_a_model_that_has_scored_can_be_sent_and_sees_samples_change():
    task, x = make_task()
    _, (model,) = fitted([Member(task, config(), 0)])
    scores = model.unseen_scores(x)
    assert torch.equal(pickle.loads(pickle.dumps(model)).unseen_scores(x), scores)
    x[0] = 255 - x[0]
    assert not torch.equal(model.unseen_scores(x)[0], scores[0])


def test_what_one_asks_of_a_model_does_not_depend_on_what_was_asked_before():
    task, x = make_task()
    _, (model,) = fitted([Member(task, config(epochs=2), 0)], 2)
    fresh = [replace(model) for _ in range(3)]
    expected = fresh[0].unseen_scores(x), fresh[1].seen_scores(task.features), fresh[2].latents(x)["union"]
    assert torch.equal(model.seen_scores(task.features), expected[1])
    assert torch.equal(model.unseen_scores(x), expected[0])
    assert torch.equal(model.latents(x)["union"], expected[2])
    assert model.unseen_scores(x[:0]).shape == (0, UNSEEN)
