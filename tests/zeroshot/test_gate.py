import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from platform.population.draws import generator
from platform.zeroshot import gate as gate_module
from platform.zeroshot.gate import TEMPERATURES, THRESHOLDS, Gate, Stacking, fit_gate, fit_stacking

SEEN, UNSEEN = 6, 3


def held_out(count=300, seed=0, signal=3.0):
    """Seen and unseen log-probabilities, and labels: a sample's own side is the more certain one by `signal`."""
    draw = generator(seed, "gate")
    labels = torch.randint(SEEN + UNSEEN, (count,), generator=draw)
    logits = torch.randn(count, SEEN + UNSEEN, generator=draw)
    logits += signal * torch.nn.functional.one_hot(labels, SEEN + UNSEEN)
    return torch.log_softmax(logits[:, :SEEN], 1), torch.log_softmax(logits[:, SEEN:], 1), labels


def harmonic_mean_of(scores, labels):
    right, is_seen = (scores.argmax(1) == labels).double(), labels < SEEN
    seen, unseen = right[is_seen].mean(), right[~is_seen].mean()
    return (2 * seen * unseen / (seen + unseen)).item()


def test_a_soft_gate_mixes_both_sides_into_one_distribution():
    seen, unseen, labels = held_out()
    gate, _ = fit_gate("soft", seen, unseen, labels)
    p_d, scores = gate.probability_seen(seen, unseen), gate.scores(seen, unseen)
    torch.testing.assert_close(scores.exp().sum(1), torch.ones(len(labels), dtype=torch.float64))
    torch.testing.assert_close(scores[:, :SEEN].exp(), p_d[:, None] * seen.exp(), check_dtype=False)
    torch.testing.assert_close(scores[:, SEEN:].exp(), (1 - p_d)[:, None] * unseen.exp(), check_dtype=False)
    assert torch.equal(gate.curve_scores(seen, unseen), scores)


@pytest.mark.parametrize("threshold", [0.25, 0.5, 0.74])
def test_a_hard_gate_closes_one_side_by_its_threshold(threshold):
    seen, unseen, _ = held_out()
    gate = Gate("hard", 1.0, threshold, 1, (2.0, -2.0), 0.1)
    opened = gate.probability_seen(seen, unseen) > threshold
    scores = gate.scores(seen, unseen)
    assert opened.any()
    assert not opened.all()
    assert (scores[opened, SEEN:] == -torch.inf).all()
    assert (scores[~opened, :SEEN] == -torch.inf).all()
    torch.testing.assert_close(scores[opened, :SEEN], seen[opened], check_dtype=False)
    torch.testing.assert_close(scores[~opened, SEEN:], unseen[~opened], check_dtype=False)
    assert gate.curve_scores(seen, unseen).isfinite().all()


def test_probabilities_given_take_the_place_of_the_gates_own():
    seen, unseen, _ = held_out()
    gate = Gate("hard", 1.0, 0.5, 1, (0.0, 0.0), 9.0)
    scores = gate.scores(seen, unseen, torch.zeros(len(seen), dtype=torch.float64))
    assert (scores[:, :SEEN] == -torch.inf).all()


def test_the_gate_is_a_balanced_logistic_regression_on_the_largest_probabilities():
    seen, unseen, labels = held_out()
    gate, _ = fit_gate("soft", seen, unseen, labels, scale_temperature=False)
    inputs = np.hstack([-np.sort(-seen.exp().numpy(), 1)[:, :UNSEEN], -np.sort(-unseen.exp().numpy(), 1)])
    reference = LogisticRegression(max_iter=5000, class_weight="balanced").fit(inputs, (labels < SEEN).numpy())
    expected = reference.predict_proba(inputs)[:, 1]
    assert (gate.temperature, gate.top) == (1.0, UNSEEN)
    np.testing.assert_allclose(gate.probability_seen(seen, unseen).numpy(), expected, atol=1e-3)


def test_the_temperature_acts_on_the_seen_side_alone():
    seen, unseen, _ = held_out()
    cold, warm = (Gate("soft", t, 0.5, 2, (1.0, 0.0, 0.0, 0.0), 0.0) for t in (1.0, 4.0))
    tempered = torch.softmax(seen / 4, 1).max(1).values.double()
    torch.testing.assert_close(warm.probability_seen(seen, unseen), tempered.sigmoid())
    assert (warm.probability_seen(seen, unseen) < cold.probability_seen(seen, unseen)).all()
    only_unseen = [
        Gate("soft", t, 0.5, 2, (0.0, 0.0, 1.0, 0.0), 0.0).probability_seen(seen, unseen) for t in (1.0, 4.0)
    ]
    assert torch.equal(*only_unseen)


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_no_other_temperature_or_threshold_does_better_out_of_fold(kind):
    seen, unseen, labels = held_out(signal=1.5)
    gate, p_seen = fit_gate(kind, seen, unseen, labels)
    chosen = harmonic_mean_of(gate.scores(seen, unseen, p_seen), labels)
    assert gate.temperature in TEMPERATURES
    plain, p_plain = fit_gate(kind, seen, unseen, labels, scale_temperature=False)
    assert chosen >= harmonic_mean_of(plain.scores(seen, unseen, p_plain), labels)
    if kind == "hard":
        for threshold in THRESHOLDS:
            other = Gate("hard", gate.temperature, threshold, gate.top, gate.coefficients, gate.intercept)
            assert chosen >= harmonic_mean_of(other.scores(seen, unseen, p_seen), labels)


def test_out_of_fold_probabilities_know_nothing_of_their_own_sample(monkeypatch):
    # 60 inputs for 80 samples of random sides: fitted on themselves they are told apart, out of fold they are not
    draw = generator(3)
    labels = torch.arange(80) % 60
    sides = torch.randperm(80, generator=draw) % 2 * 30
    labels = labels % 30 + sides
    seen, unseen = (torch.log_softmax(3 * torch.randn(80, 30, generator=draw), 1) for _ in range(2))
    monkeypatch.setattr(gate_module, "_regression", lambda: LogisticRegression(C=1e6, max_iter=5000))
    gate, out_of_fold = fit_gate("soft", seen, unseen, labels, scale_temperature=False)
    is_seen = labels < 30
    assert ((gate.probability_seen(seen, unseen) > 0.5) == is_seen).double().mean() > 0.8
    assert 0.35 < ((out_of_fold > 0.5) == is_seen).double().mean() < 0.65


def test_other_counts_of_classes_than_the_gate_was_fitted_with():
    seen, unseen, labels = held_out()
    gate, _ = fit_gate("hard", seen, unseen, labels)
    for classes in (1, 2, 7):
        other = torch.log_softmax(torch.randn(len(seen), classes, generator=generator(1)), 1)
        assert gate.scores(seen, other).shape == (len(seen), SEEN + classes)
        assert gate.probability_seen(seen, other).isfinite().all()


def test_more_unseen_than_seen_classes():
    seen, unseen, labels = held_out()
    gate, _ = fit_gate("soft", unseen, seen, (labels + UNSEEN) % (SEEN + UNSEEN))
    assert gate.top == UNSEEN
    assert len(gate.coefficients) == 2 * UNSEEN


def test_stacking_moves_seen_scores_alone():
    seen, unseen, _ = held_out()
    scores = Stacking(0.7).scores(seen, unseen)
    torch.testing.assert_close(scores, torch.cat([seen - 0.7, unseen], 1))
    assert torch.equal(Stacking(0.7).curve_scores(seen, unseen), scores)


def test_stacking_takes_the_best_bias():
    seen, unseen, labels = held_out(signal=1.5)
    stacking = fit_stacking(seen, unseen, labels)
    best = harmonic_mean_of(stacking.scores(seen, unseen), labels)
    others = [harmonic_mean_of(Stacking(b).scores(seen, unseen), labels) for b in np.linspace(-5, 5, 401)]
    assert best == pytest.approx(max(others), abs=1e-9) or best > max(others)


def test_stacking_parts_sides_that_can_be_parted():
    seen, unseen = torch.tensor([[0.3], [0.7], [2.1], [2.9]]), torch.zeros(4, 1)
    stacking = fit_stacking(seen, unseen, torch.tensor([1, 1, 0, 0]))
    assert stacking.bias == pytest.approx(1.4)
