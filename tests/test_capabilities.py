"""Who has a capability is asked for it; any other model is left as it is."""

import pytest
import torch

from platform.capabilities import TakesLogits, clusters_of, model_for, steps_of
from platform.learning.made_up import made_up
from platform.method import Member, load_method
from platform.workers import Workers
from platform.zeroshot.task import Samples

TASK = made_up(0, 3, 6)
LOGITS = torch.randn(len(TASK.labels), len(TASK.seen), generator=torch.Generator().manual_seed(0))
WITH_LOGITS = Samples(TASK.features, TASK.labels, LOGITS)


class Plain:
    """Has no capability."""


class Judged:
    logits = None

    def given(self, logits):
        made = Judged()
        made.logits = logits
        return made


def test_samples_bring_their_logits_to_a_model_that_takes_them():
    model = Judged()
    assert isinstance(model, TakesLogits)
    assert torch.equal(model_for(model, WITH_LOGITS).logits, LOGITS)
    assert model.logits is None
    chosen = WITH_LOGITS.where(TASK.labels == 2)
    assert torch.equal(model_for(model, chosen).logits, LOGITS[TASK.labels == 2])


def test_a_model_stays_itself_where_samples_bring_none_or_it_takes_none():
    judged, plain = Judged(), Plain()
    assert model_for(judged, TASK.samples()) is judged
    assert model_for(plain, WITH_LOGITS) is plain
    assert (clusters_of(plain, TASK.features), steps_of(plain, TASK.features)) == ({}, None)


@pytest.mark.parametrize("seen_classifier", ["features", "compatibility"])
def test_a_model_with_seen_scores_of_its_own_ignores_logits(seen_classifier):
    method = load_method("methods.ridge")
    config = method.configure({"seen_classifier": seen_classifier})
    model, x = method.learner(Member(TASK, config, 0), Workers(torch.device("cpu"))).model(), TASK.features
    assert torch.equal(model_for(model, WITH_LOGITS).seen_scores(x), model.seen_scores(x))
