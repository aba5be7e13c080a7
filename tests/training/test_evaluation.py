from dataclasses import dataclass, replace

import pytest
import torch

from platform.errors import InputError
from platform.method import Model
from platform.training import evaluation
from platform.training.evaluation import (
    all_metrics,
    cluster_metrics,
    joint_metrics,
    seen_alone,
    step_metrics,
    zero_shot_from_scores,
    zero_shot_metrics,
)
from platform.zeroshot.gate import Gate, Stacking
from platform.zeroshot.steps import Steps
from platform.zeroshot.task import Samples


@dataclass(frozen=True)
class Columns(Model):
    """Its features are the scores: seen classes first, then unseen ones."""

    def unseen_scores(self, x):
        return x[:, len(self.seen) :]

    def seen_scores(self, x):
        return x[:, : len(self.seen)]

    def with_classes(self, names, semantics):
        raise NotImplementedError

    def state(self):
        raise NotImplementedError

    @classmethod
    def from_state(cls, tensors, values):
        raise NotImplementedError


@dataclass(frozen=True)
class Judged(Columns):
    """Its seen scores are a given classifier's, where there is one."""

    learns_seen_classes = True
    logits: torch.Tensor | None = None

    def seen_scores(self, x):
        return super().seen_scores(x) if self.logits is None else self.logits

    def given(self, logits):
        return replace(self, logits=logits)


LABELS = torch.tensor([0, 1, 2, 2, 2, 3])


def model(combination=None):
    return Columns(("a", "b"), ("x", "y"), combination)


def samples(predicted_seen, predicted_unseen):
    one_hot = torch.nn.functional.one_hot
    scores = torch.cat([one_hot(torch.tensor(p), 2) for p in (predicted_seen, predicted_unseen)], dim=1)
    return Samples(torch.log_softmax(5.0 * scores, 1), LABELS)


def test_zero_shot_metrics_look_at_unseen_classes_and_their_samples_alone():
    metrics = zero_shot_metrics(model(), samples([1, 0, 0, 0, 0, 0], [0, 0, 0, 1, 1, 1]))
    assert metrics == pytest.approx({"zsl": (1 / 3 + 1) / 2, "zsl_per_sample": 0.5})


def test_zero_shot_metrics_of_scores_are_those_of_the_model_that_gave_them():
    given = samples([1, 0, 0, 0, 0, 0], [1, 1, 0, 1, 1, 1])
    from_scores = zero_shot_from_scores(model().unseen_scores(given.features), given.labels, 2)
    assert from_scores == zero_shot_metrics(model(), given)


def test_all_metrics_join_both_sides():
    metrics = all_metrics(model(Stacking(1.0)), samples([0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1]))
    assert set(metrics) == {
        *("zsl", "zsl_per_sample", "seen", "unseen", "harmonic_mean"),
        *("seen_per_sample", "unseen_per_sample", "harmonic_mean_per_sample", "ausuc"),
    }
    assert (metrics["seen"], metrics["unseen"], metrics["zsl"]) == (0, 1, 1)  # the bias turns every sample
    assert metrics["ausuc"] == pytest.approx(0.5)  # a margin of zero at every sample: nothing told apart


def test_top_5_is_measured_where_more_than_five_classes_are_to_choose_among():
    names = tuple("abcdefg")
    six_unseen = Columns(names[:1], names[1:], Stacking(0.0))
    scores = torch.tensor([[0.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]] * 4)
    tested = Samples(torch.log_softmax(scores, 1), torch.tensor([0, 1, 5, 6]))
    metrics = all_metrics(six_unseen, tested)
    assert (metrics["zsl_top5"], metrics["zsl_top5_per_sample"]) == pytest.approx((2 / 3, 2 / 3))
    assert (metrics["unseen_top5"], metrics["seen_top5"]) == (pytest.approx(2 / 3), 0)
    four_unseen = all_metrics(Columns(names[:3], names[3:], Stacking(0.0)), tested)
    assert {name for name in four_unseen if "top5" in name} == {
        *("seen_top5", "unseen_top5", "seen_top5_per_sample", "unseen_top5_per_sample")
    }


def test_given_logits_reach_the_seen_side():
    given = samples([1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1])
    right = Samples(given.features, LABELS, torch.log_softmax(9.0 * torch.eye(2)[[0, 1, 0, 0, 0, 0]], 1))
    stacking = Judged(("a", "b"), ("x", "y"), Stacking(-9.0))
    assert all_metrics(stacking, given)["seen"] == 0
    assert all_metrics(stacking, right)["seen"] == 1
    assert seen_alone(stacking, given) == {"seen_alone": 0}
    assert seen_alone(stacking, right) == {"seen_alone": 1}
    assert all_metrics(model(Stacking(-9.0)), right)["seen"] == 0  # takes none


def test_closed_sides_leave_the_curve_finite():
    gate = Gate("hard", 1.0, 0.5, 1, (0.0, 0.0), 100.0)  # a soft probability of 1: log(1 − p) is −inf
    metrics = all_metrics(model(gate), samples([0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1]))
    assert 0 <= metrics["ausuc"] <= 1
    assert (metrics["seen"], metrics["unseen"], metrics["harmonic_mean"]) == (1, 0, 0)
    bare = torch.full((6, 4), torch.nan)
    assert 0 <= joint_metrics(bare, bare, LABELS, 2)["ausuc"] <= 1


def test_a_model_that_joins_nothing_says_so():
    with pytest.raises(InputError, match="joins no seen and unseen scores"):
        all_metrics(model(), samples([0] * 6, [0] * 6))


def test_cluster_metrics_show_a_model_a_few_samples_at_a_time(monkeypatch):
    shown = []

    class Clusters(Columns):
        def clusters(self, x):
            shown.append(len(x))
            return {"before": x.argmax(dim=1), "after": x.argmin(dim=1)}

    given = Samples(torch.randn(11, 4, generator=torch.Generator().manual_seed(0)), torch.arange(11) % 3)
    clustering = Clusters(("a", "b"), ("x", "y"), None)
    whole = cluster_metrics(clustering, given, torch.device("cpu"))
    assert set(whole) == {f"{kind}_{name}" for kind in ("purity", "class_purity") for name in ("before", "after")}
    monkeypatch.setattr(evaluation, "_CLUSTERED_AT_ONCE", 4)
    assert cluster_metrics(clustering, given, torch.device("cpu")) == whole
    assert shown == [11, 4, 4, 3]
    assert cluster_metrics(model(), given, torch.device("cpu")) == {}


def test_step_metrics_are_of_the_unseen_samples_of_a_model_that_takes_steps():
    class Walker(Columns):
        def steps(self, x):
            predictions = torch.zeros(len(x), 8, dtype=torch.long)
            return Steps(predictions, predictions.float(), x[:, 0].long(), torch.zeros(len(x), 7, 4))

    given = Samples(torch.tensor([[7.0], [1.0], [2.0], [6.0]]), torch.tensor([1, 2, 3, 2]))
    assert step_metrics(Walker(("a", "b"), ("x", "y"), None), given) == {"average_steps": 3.0}
    assert step_metrics(model(), given) == {}
