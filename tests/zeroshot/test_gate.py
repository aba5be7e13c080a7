import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from platform.population.draws import generator
from platform.zeroshot.gate import (
    TEMPERATURES,
    THRESHOLDS,
    Gate,
    GateOptions,
    Stacking,
    _folds,
    _out_of_fold,
    best_move,
    carried,
    fit_gate,
    fit_logistic,
    fit_stacking,
    seen_share,
)

SEEN, UNSEEN = 6, 3
PAPERS = {"inputs": "probabilities", "threshold": "listed", "tempered": False}


def papers(kind, seen, unseen, labels, **options):
    return fit_gate(GateOptions(kind, **PAPERS, **options), seen, unseen, labels)


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
    gate, _ = papers("soft", seen, unseen, labels)
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


def test_logits_given_take_the_place_of_the_gates_own():
    seen, unseen, _ = held_out()
    gate = Gate("hard", 1.0, 0.5, 1, (0.0, 0.0), 9.0)
    scores = gate.scores(seen, unseen, torch.full((len(seen),), -0.1, dtype=torch.float64))
    assert (scores[:, :SEEN] == -torch.inf).all()


def test_the_gate_is_a_balanced_logistic_regression_on_the_largest_probabilities():
    seen, unseen, labels = held_out()
    gate, _ = papers("soft", seen, unseen, labels, temperature_scaling=False)
    inputs = np.hstack([-np.sort(-seen.exp().numpy(), 1)[:, :UNSEEN], -np.sort(-unseen.exp().numpy(), 1)])
    reference, inputs = LogisticRegression(tol=1e-10, max_iter=5000, class_weight="balanced"), inputs.astype(float)
    expected = reference.fit(inputs, (labels < SEEN).numpy()).predict_proba(inputs)[:, 1]
    assert (gate.temperature, gate.top) == (1.0, UNSEEN)
    np.testing.assert_allclose(gate.probability_seen(seen, unseen).numpy(), expected, atol=1e-6)


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
    gate, p_seen = papers(kind, seen, unseen, labels)
    chosen = harmonic_mean_of(gate.scores(seen, unseen, p_seen), labels)
    assert gate.temperature in TEMPERATURES
    plain, p_plain = papers(kind, seen, unseen, labels, temperature_scaling=False)
    assert chosen >= harmonic_mean_of(plain.scores(seen, unseen, p_plain), labels)
    if kind == "hard":
        for threshold in THRESHOLDS:
            other = Gate("hard", gate.temperature, threshold, gate.top, gate.coefficients, gate.intercept)
            assert chosen >= harmonic_mean_of(other.scores(seen, unseen, p_seen), labels)


def test_regressions_on_several_choices_of_samples_are_those_of_scikit_learn():
    draw = generator(5)
    inputs = torch.randn(90, 4, generator=draw, dtype=torch.float64) * torch.tensor([1.0, 20.0, 0.01, 1.0])
    positive = inputs[:, 0] + torch.randn(90, generator=draw) > 0.8
    counted = torch.rand(6, 90, generator=draw) > 0.3
    counted[0] = True
    for fitted, rows in zip(fit_logistic(inputs, positive, counted), counted, strict=True):
        reference = LogisticRegression(tol=1e-10, max_iter=100_000, solver="newton-cholesky", class_weight="balanced")
        reference.fit(inputs[rows].numpy(), positive[rows].numpy())
        np.testing.assert_allclose(fitted[:-1].numpy(), reference.coef_[0], atol=1e-6)
        np.testing.assert_allclose(fitted[-1].item(), reference.intercept_[0], atol=1e-6)


def test_a_regression_on_sides_that_can_be_parted_stays_finite():
    inputs = torch.tensor([[-1e3], [-2e3], [5e2], [1e3]], dtype=torch.float64)
    (fitted,) = fit_logistic(inputs, torch.tensor([False, False, True, True]), torch.ones(1, 4, dtype=torch.bool))
    assert fitted.isfinite().all()
    assert (inputs[:, 0] * fitted[0] + fitted[1] > 0).tolist() == [False, False, True, True]


def test_an_out_of_fold_probability_knows_nothing_of_its_own_sample():
    seen, unseen, labels = held_out(80)
    inputs, is_seen = torch.cat([seen.exp(), unseen.exp()], 1).double(), labels < SEEN
    left_out = _folds(is_seen)
    before = _out_of_fold(inputs, is_seen, left_out, balanced=True)
    for fold in left_out:
        same = fold.nonzero().flatten()
        turned = is_seen.clone()
        turned[same] = ~turned[same]
        after = _out_of_fold(inputs, turned, left_out, balanced=True)
        torch.testing.assert_close(after[same], before[same])
        assert not torch.isclose(after, before, atol=1e-3).all()


def test_every_sample_is_left_out_once_with_some_of_both_sides():
    is_seen = torch.arange(43) % 4 > 0
    left_out = _folds(is_seen)
    assert left_out.shape == (5, 43)
    assert (left_out.sum(dim=0) == 1).all()
    for fold in left_out:
        assert abs((is_seen & fold).sum() - is_seen.sum() / 5) < 1
        assert abs((~is_seen & fold).sum() - (~is_seen).sum() / 5) < 1
    assert len(_folds(torch.arange(20) > 2)) == 3  # of the smaller side each fold has one


def test_random_sides_are_told_apart_in_the_fit_and_not_out_of_fold():
    inputs = 100 * torch.randn(80, 60, generator=generator(3), dtype=torch.float64)  # the penalty weighs little there
    is_seen = torch.randperm(80, generator=generator(4)) % 2 > 0
    (fitted,) = fit_logistic(inputs, is_seen, torch.ones(1, 80, dtype=torch.bool))
    assert ((inputs @ fitted[:-1] + fitted[-1] > 0) == is_seen).all()
    out_of_fold = _out_of_fold(inputs, is_seen, _folds(is_seen), balanced=True)
    assert 0.35 < ((out_of_fold > 0) == is_seen).double().mean() < 0.65


def test_other_counts_of_classes_than_the_gate_was_fitted_with():
    seen, unseen, labels = held_out()
    gate, _ = papers("hard", seen, unseen, labels)
    for classes in (1, 2, 7):
        other = torch.log_softmax(torch.randn(len(seen), classes, generator=generator(1)), 1)
        assert gate.scores(seen, other).shape == (len(seen), SEEN + classes)
        assert gate.probability_seen(seen, other).isfinite().all()


def test_more_unseen_than_seen_classes():
    seen, unseen, labels = held_out()
    gate, _ = papers("soft", unseen, seen, (labels + UNSEEN) % (SEEN + UNSEEN))
    assert gate.top == UNSEEN
    assert len(gate.coefficients) == 2 * UNSEEN


def test_stacking_moves_seen_scores_alone():
    seen, unseen, _ = held_out()
    scores = Stacking(0.7).scores(seen, unseen)
    torch.testing.assert_close(scores, torch.cat([seen - 0.7, unseen], 1))
    assert torch.equal(Stacking(0.7).curve_scores(seen, unseen), scores)


def harmonic_mean_by_class(scores, labels):
    right = scores.argmax(1) == labels
    of_class = torch.stack([right[labels == c].double().mean() for c in range(SEEN + UNSEEN)])
    seen, unseen = of_class[:SEEN].mean(), of_class[SEEN:].mean()
    return (2 * seen * unseen / (seen + unseen)).item()


def test_stacking_takes_the_middle_of_the_biases_that_are_as_good_as_the_best():
    seen, unseen, labels = held_out(900, signal=1.5)
    stacking = fit_stacking(seen, unseen, labels)
    biases = np.linspace(-5, 5, 401)
    values = np.array([harmonic_mean_by_class(Stacking(b).scores(seen, unseen), labels) for b in biases])
    own = harmonic_mean_by_class(stacking.scores(seen, unseen), labels)
    assert values.max() - 0.02 < own <= values.max() + 0.002  # a standard error is 0.018 here
    as_good = biases[values > values.max() - 0.02]
    assert as_good.min() < stacking.bias < as_good.max()


def test_stacking_parts_sides_that_can_be_parted():
    seen, unseen = torch.tensor([[0.3], [0.7], [2.1], [2.9]]), torch.zeros(4, 1)
    stacking = fit_stacking(seen, unseen, torch.tensor([1, 1, 0, 0]))
    assert stacking.bias == pytest.approx(1.4)


def test_a_move_counts_classes_alike_and_not_samples():
    # seen class 0 has 98 samples that want no move, class 1 has two that want a large one; unseen class 2 wants neither
    margins = torch.cat([torch.full((98,), 1.0), torch.full((2,), -3.0), torch.full((50,), -5.0)]).double()
    labels = torch.cat([torch.zeros(98), torch.ones(2), torch.full((50,), 2)]).long()
    seen = torch.nn.functional.one_hot(labels.clamp_max(1), 2).double()
    move, value = best_move(margins, seen, torch.zeros(150, 1), labels)
    assert 3 < move < 5
    assert value == 1.0


OURS = [
    GateOptions("soft"),
    GateOptions("hard"),
    GateOptions("soft", tempered=False),
    GateOptions("hard", "probabilities"),
]


@pytest.mark.parametrize("options", OURS)
def test_margins_say_how_a_sample_is_decided(options):
    seen, unseen, labels = held_out(signal=1.5)
    gate, logit = fit_gate(options, seen, unseen, labels)
    for given in ((), (logit,)):
        decided_seen = gate.scores(seen, unseen, *given).argmax(1) < SEEN
        assert torch.equal(gate.margins(seen, unseen, *given) > 0, decided_seen)
    moved = gate.moved(0.4)
    torch.testing.assert_close(moved.margins(seen, unseen), gate.margins(seen, unseen) + 0.4)


def test_the_gate_on_confidence_sees_the_largest_seen_probability_alone():
    seen, unseen, labels = held_out()
    gate, _ = fit_gate(GateOptions("soft", temperature_scaling=False, threshold="listed"), seen, unseen, labels)
    reference = LogisticRegression(tol=1e-10, max_iter=5000, class_weight="balanced")
    inputs = seen.max(1).values.double().numpy()[:, None]
    expected = reference.fit(inputs, (labels < SEEN).numpy()).predict_proba(inputs)[:, 1]
    np.testing.assert_allclose(gate.probability_seen(seen, unseen).numpy(), expected, atol=1e-6)
    other = torch.log_softmax(torch.randn(len(seen), 40, generator=generator(2)), 1)  # however many unseen classes
    assert torch.equal(gate.probability_seen(seen, other), gate.probability_seen(seen, unseen))


def test_a_regression_that_is_not_balanced_leans_to_the_larger_side():
    seen, unseen, labels = held_out(signal=0.5)  # two of three samples are seen
    gates = {b: papers("soft", seen, unseen, labels, balanced=b, temperature_scaling=False)[0] for b in (True, False)}
    shares = {b: gate.probability_seen(seen, unseen).mean().item() for b, gate in gates.items()}
    assert abs(shares[True] - 0.5) < 0.05
    assert abs(shares[False] - 2 / 3) < 0.05


def test_the_threshold_that_puts_most_samples_on_their_own_side():
    seen, unseen, labels = held_out(signal=1.5)
    gate, logit = papers("hard", seen, unseen, labels, chosen_by="accuracy")

    def right(threshold):
        return ((logit.sigmoid() > threshold) == (labels < SEEN)).double().mean().item()

    assert right(gate.threshold) == max(map(right, THRESHOLDS))


def test_a_tempered_soft_gate_joins_tempered_probabilities():
    seen, unseen, _ = held_out()
    gate = Gate("soft", 4.0, 0.5, 0, (1.0,), 0.0, tempered=True)
    p_d = gate.probability_seen(seen, unseen)
    torch.testing.assert_close(
        gate.scores(seen, unseen)[:, :SEEN].exp(), p_d[:, None] * torch.softmax(seen / 4, 1), check_dtype=False
    )


@pytest.mark.parametrize("combination", ["soft", "hard", "stacking"])
def test_carried_over_to_more_classes_the_same_share_stays_seen(combination):
    seen, unseen, labels = held_out(900, signal=1.5)
    fitted, *logit = (
        (fit_stacking(seen, unseen, labels),)
        if combination == "stacking"
        else fit_gate(GateOptions(combination), seen, unseen, labels)
    )
    share = seen_share(fitted.margins(seen, unseen, *logit), labels, SEEN)
    # the final model has five times the classes, among which every probability is smaller
    draw = generator(1, "more classes")
    many = torch.randint(5 * SEEN, (700,), generator=draw)
    logits = torch.randn(700, 5 * (SEEN + UNSEEN), generator=draw)
    logits[torch.arange(700), many] += 1.5
    more = torch.log_softmax(logits[:, : 5 * SEEN], 1), torch.log_softmax(logits[:, 5 * SEEN :], 1)
    as_it_was = (fitted.margins(*more) > 0).double().mean().item()
    kept = (carried(fitted, share, *more).margins(*more) > 0).double().mean().item()
    assert kept == pytest.approx(share, abs=1 / 700)
    if combination != "stacking":  # whose margins compare two sides that both have more classes
        assert abs(as_it_was - share) > 0.1


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_all_or_none_may_be_carried_over(share):
    seen, unseen, _ = held_out(20)
    kept = carried(Stacking(0.0), share, seen, unseen).margins(seen, unseen) > 0
    assert kept.double().mean() == share
