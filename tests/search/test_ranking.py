"""Which of a search's trials are the best."""

import math

import pytest

from platform.search.ranking import equals, front, on_splits, ranked, row_of
from platform.search.space import Dimension, SearchSpace, Stage
from platform.training.trainable import Outcome


def space(metric="zsl", mode="max"):
    stage = Stage(name="only", trials=1, sampled={"beta_x": Dimension(uniform=(0, 1))})
    metric = [metric] if isinstance(metric, str) else metric
    return SearchSpace(source="a test", metric=metric, mode=mode, stages=[stage])


def outcome(seed=0, split="two", status="finished", **metrics):
    return Outcome(config={}, seed=seed, split=split, status=status, validation=metrics)


def trials(values, metric="zsl"):
    """One of one seed and split by its key, with these values."""
    return {key: [outcome(**{metric: value})] for key, value in values.items()}


VALUES = {"first-0000": 0.5, "first-0001": 0.7, "second-0000": 0.7, "second-0001": 0.6}


@pytest.mark.parametrize(
    ("mode", "order"),
    [
        ("max", ["first-0001", "second-0000", "second-0001", "first-0000"]),
        ("min", ["first-0000", "second-0001", "first-0001", "second-0000"]),
    ],
)
def test_the_best_come_first_and_of_equal_ones_the_first_proposed(mode, order):
    assert ranked(trials(VALUES), space(mode=mode)) == order
    assert front(trials(VALUES), space(mode=mode)) == order[:1]


def test_the_mean_over_seeds_and_splits_decides():
    several = {
        "a": [outcome(zsl=0.9), outcome(seed=1, zsl=0.1)],
        "b": [outcome(zsl=0.6), outcome(seed=1, zsl=0.6)],
    }
    assert ranked(several, space()) == ["b", "a"]


def test_what_failed_was_stopped_or_is_no_number_is_not_ranked():
    several = {
        **trials({"no number": math.nan, "sound": 0.1}),
        "half failed": [outcome(zsl=0.9), outcome(seed=1, status="failed")],
        "stopped": [outcome(status="stopped", zsl=0.9)],
        "another metric": [outcome(seen=0.9)],
        "nothing": [],
    }
    assert ranked(several, space()) == front(several, space()) == ["sound"]
    assert ranked({"stopped": several["stopped"]}, space()) == []


def test_each_split_has_its_own_best():
    several = {
        "a": [outcome(split="one", zsl=0.9), outcome(split="two", zsl=0.1)],
        "b": [outcome(split="one", zsl=0.2), outcome(split="two", zsl=0.3)],
        "c": [outcome(split="one", status="failed"), outcome(split="two", zsl=0.8)],
        "lost": [outcome(split="one", status="failed")],  # with its worker: one outcome for all
    }
    assert ranked(several, space()) == ["a", "b"]
    assert ranked(on_splits(several, ("one",)), space()) == ["a", "b"]
    assert ranked(on_splits(several, ("two",)), space()) == ["c", "b", "a"]


@pytest.mark.parametrize(("mode", "best"), [("max", ["first-0000", "second-0000"]), ("min", ["first-0001"])])
def test_with_two_metrics_the_front_is_what_no_other_beats_and_the_best_is_of_it(mode, best):
    values = {
        "first-0000": (0.2, 0.9),
        "first-0001": (0.1, 0.4),
        "second-0000": (0.5, 0.5),
        "second-0001": (0.5, 0.5),
        "second-0002": (0.2, 0.6),
    }
    several = {k: [outcome(unseen=u, seen=s, harmonic_mean=2 * u * s / (u + s))] for k, (u, s) in values.items()}
    assert front(several, space(["unseen", "seen"], mode)) == best
    assert ranked(several, space(["unseen", "seen"], mode))[0] == best[-1]


def test_the_best_of_the_front_leads_though_another_has_a_higher_harmonic_mean():
    several = {
        "beaten": [outcome(zsl=0.4, ausuc=0.4, harmonic_mean=0.9)],
        "beats": [outcome(zsl=0.5, ausuc=0.5, harmonic_mean=0.3)],
        "worse": [outcome(zsl=0.1, ausuc=0.1, harmonic_mean=0.5)],
    }
    assert ranked(several, space(["zsl", "ausuc"])) == ["beats", "beaten", "worse"]


def test_a_row_has_mean_and_deviation_and_a_failed_one_neither():
    row = row_of("a", {"beta_x": 0.5}, [outcome(zsl=0.2), outcome(seed=1, zsl=0.4)])
    assert (row.status, row.metrics["zsl"], row.spread["zsl"]) == (
        "finished",
        pytest.approx(0.3),
        pytest.approx(0.02**0.5),
    )
    failed = row_of("a", {}, [outcome(zsl=0.2), outcome(seed=1, status="failed")])
    assert (failed.status, failed.metrics, failed.spread) == ("failed", {}, {})


def folds(*values, metric="zsl"):
    """An outcome that reached these values on its folds."""
    return outcome(**{metric: sum(values) / len(values)}).model_copy(update={"folds": [{metric: v} for v in values]})


@pytest.mark.parametrize("mode", ["max", "min"])
def test_trials_that_the_folds_cannot_tell_from_the_best_are_its_equals(mode):
    sign = 1 if mode == "max" else -1
    values = {
        "best": (0.5, 0.6, 0.7, 0.8),
        "a little worse everywhere": (0.49, 0.59, 0.69, 0.79),  # and so surely worse
        "better on some folds": (0.6, 0.5, 0.8, 0.68),
        "much worse": (0.1, 0.2, 0.1, 0.2),
    }
    several = {key: [folds(*(sign * v for v in own))] for key, own in values.items()}
    assert equals("best", several, space(mode=mode)) == ["better on some folds"]


def test_seeds_and_splits_are_units_too():
    several = {"best": [folds(0.6), folds(0.8)], "other": [folds(0.7), folds(0.6)], "worse": [folds(0.1), folds(0.2)]}
    assert equals("best", several, space()) == ["other"]
