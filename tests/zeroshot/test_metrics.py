import pytest
import torch

from platform.population.draws import generator
from platform.zeroshot.metrics import (
    among_first,
    area_under_seen_unseen_curve,
    generalised_metrics,
    harmonic_mean,
    per_class_accuracy,
    per_sample_accuracy,
    purity,
    seen_unseen_curve,
    top5_accuracies,
)


def scored(margins, right, labels, seen_classes=2):
    """(N, 4) scores: each sample's best seen minus best unseen score is its margin; `right`: of its own side's two."""
    scores = torch.full((len(margins), 4), -9.0)
    for row, (margin, is_right, label) in enumerate(zip(margins, right, labels, strict=True)):
        own = label if is_right else label ^ 1  # the other class of its side
        other = 2 if label < seen_classes else 0
        scores[row, own], scores[row, other] = (margin, 0) if label < seen_classes else (0, margin)
    return scores


def test_imbalanced_classes_weigh_the_same_per_class():
    labels = torch.tensor([0] * 8 + [1] * 2)
    predicted = torch.tensor([0] * 8 + [1, 0])
    assert per_sample_accuracy(predicted, labels) == pytest.approx(0.9)
    assert per_class_accuracy(predicted, labels) == pytest.approx(0.75)


def test_a_class_that_is_only_predicted_does_not_count():
    assert per_class_accuracy(torch.tensor([0, 5, 2]), torch.tensor([0, 0, 2])) == pytest.approx(0.75)


def test_the_harmonic_mean_is_zero_where_a_side_is():
    seen, unseen = torch.tensor([0.0, 0.8, 0.0, 0.6]), torch.tensor([0.0, 0.0, 0.3, 0.3])
    torch.testing.assert_close(harmonic_mean(seen, unseen), torch.tensor([0.0, 0.0, 0.0, 0.4]))


def test_generalised_metrics_of_a_small_case():
    labels = torch.tensor([0, 0, 0, 1, 2, 3, 3])
    predicted = torch.tensor([0, 0, 1, 3, 2, 3, 0])
    metrics = generalised_metrics(torch.nn.functional.one_hot(predicted, 4).float(), labels, 2)
    expected = {
        "seen": 1 / 3,
        "unseen": 0.75,
        "harmonic_mean": 2 * 0.25 / (1 / 3 + 0.75),
        "seen_per_sample": 0.5,
        "unseen_per_sample": 2 / 3,
        "harmonic_mean_per_sample": 4 / 7,
    }
    assert metrics == pytest.approx(expected, abs=1e-12)


def test_the_curve_of_a_small_case():
    # bias 0 → ∞: the samples turn to their unseen class at margins −2 (unseen), 1 (seen), 2 (unseen), 3 (seen)
    labels = torch.tensor([2, 0, 3, 1])
    scores = scored([-2.0, 1.0, 2.0, 3.0], [True] * 4, labels.tolist())
    seen, unseen = seen_unseen_curve(scores, labels, 2)
    assert seen.tolist() == [1, 1, 0.5, 0.5, 0]
    assert unseen.tolist() == [0, 0.5, 0.5, 1, 1]
    assert area_under_seen_unseen_curve(scores, labels, 2) == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("margins", "right", "area"),
    [
        ([5.0, 5.0, -5.0, -5.0], [True] * 4, 1.0),  # every sample on its own side
        ([-5.0, -4.0, 5.0, 4.0], [True] * 4, 0.0),  # every sample on the other
        ([5.0, 5.0, -5.0, -5.0], [True, False, True, False], 0.25),  # half of the classes right on either side
        ([1.0, 1.0, 1.0, 1.0], [True] * 4, 0.5),  # nothing told apart: the diagonal
    ],
)
@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]])
def test_the_area_under_the_curve(margins, right, area, order):
    labels = torch.tensor([0, 1, 2, 3])
    scores = scored(margins, right, labels.tolist())
    assert area_under_seen_unseen_curve(scores[order], labels[order], 2) == pytest.approx(area)


def test_the_curve_ends_at_the_accuracies_of_each_side_alone():
    draw = generator(0)
    labels = torch.randint(7, (200,), generator=draw)
    scores = torch.randn(200, 7, generator=draw).double() + torch.nn.functional.one_hot(labels, 7)
    seen, unseen = seen_unseen_curve(scores, labels, 4)
    is_seen = labels < 4
    among_seen = per_class_accuracy(scores[is_seen, :4].argmax(1), labels[is_seen])
    among_unseen = per_class_accuracy(scores[~is_seen, 4:].argmax(1), labels[~is_seen] - 4)
    assert (seen[0].item(), unseen[0].item()) == pytest.approx((among_seen, 0))
    assert (seen[-1].item(), unseen[-1].item()) == pytest.approx((0, among_unseen), abs=1e-12)
    assert (seen.diff() <= 0).all()
    assert (unseen.diff() >= 0).all()


def test_the_decision_without_a_bias_is_a_point_of_the_curve():
    draw = generator(1)
    labels = torch.randint(6, (100,), generator=draw)
    scores = torch.randn(100, 6, generator=draw).double() + torch.nn.functional.one_hot(labels, 6)
    metrics = generalised_metrics(scores, labels, 3)
    points = torch.stack(seen_unseen_curve(scores, labels, 3), dim=1)
    distance = (points - torch.tensor([metrics["seen"], metrics["unseen"]])).abs().amax(1).min()
    assert distance < 1e-6


def test_top_5_counts_a_class_among_the_five_largest_scores():
    scores = torch.tensor([[6.0, 5.0, 4.0, 3.0, 2.0, 1.0]] * 4)
    labels = torch.tensor([0, 4, 4, 5])
    assert among_first(scores, labels, 5).tolist() == [True, True, True, False]
    assert top5_accuracies(scores, labels) == pytest.approx({"top5": 2 / 3, "top5_per_sample": 3 / 4})


def test_top_5_is_nothing_among_five_classes():
    assert top5_accuracies(torch.eye(5), torch.arange(5)) == {}


def test_the_first_of_one_is_the_argmax_and_ties_go_to_the_earlier_class():
    scores = torch.randint(4, (500, 7), generator=generator(0, "ties")).double()
    labels = torch.randint(7, (500,), generator=generator(0, "labels"))
    assert torch.equal(among_first(scores, labels, 1), scores.argmax(1) == labels)
    assert among_first(torch.zeros(7, 7), torch.arange(7), 5).tolist() == [True] * 5 + [False] * 2


def test_a_class_that_a_gate_shut_out_is_not_among_the_first():
    scores = torch.full((2, 7), -torch.inf)
    scores[:, 0] = 0.0
    scores[1, 3] = torch.nan
    assert among_first(scores, torch.tensor([2, 3]), 5).tolist() == [False, False]


def test_purity_of_clusters_and_of_classes():
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    chosen = torch.tensor([0, 0, 0, 0, 1, 0])
    assert purity(chosen, labels) == pytest.approx((3 / 6, 5 / 6))
    assert purity(labels, labels) == (1.0, 1.0)
