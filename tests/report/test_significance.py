"""Paired tests over splits and seeds."""

import math

import numpy as np
import pytest
from scipy import stats

from platform.errors import InputError
from platform.report.significance import comparisons, holm, paired_comparison


def by_place(values, seed=0):
    return {(f"ru{number}", seed): value for number, value in enumerate(values)}


A, B = [70.1, 62.5, 81.0, 55.2, 66.0], [68.0, 63.1, 77.5, 50.0, 61.2]


def test_the_t_test_is_clasters_equation_8():
    found = paired_comparison(by_place(A), by_place(B), ("a", "b"))
    differences = np.subtract(A, B)
    deviation = differences.std(ddof=1)
    t = differences.mean() / (deviation / math.sqrt(5))
    half = stats.t.ppf(0.975, 4) * deviation / math.sqrt(5)
    assert found.names == ("a", "b")
    assert (found.pairs, found.why) == (5, "")
    assert found.mean_difference == pytest.approx(3.0)
    assert found.standard_deviation == pytest.approx(deviation)
    assert found.interval == pytest.approx((3.0 - half, 3.0 + half))
    assert found.p == found.p_holm == pytest.approx(2 * stats.t.sf(abs(t), 4))


def test_exchanged_methods_differ_in_sign_alone():
    one, other = (paired_comparison(by_place(x), by_place(y), ("x", "y")) for x, y in ((A, B), (B, A)))
    assert other.mean_difference == -one.mean_difference
    assert other.interval == pytest.approx((-one.interval[1], -one.interval[0]))
    assert other.p == pytest.approx(one.p)


def test_only_pairs_that_both_have_count_whatever_their_order():
    more = {("elsewhere", 0): 1.0, ("ru0", 7): 99.0, **by_place(A)}
    fewer = dict(reversed(list(by_place(B).items()))) | {("third", 0): 3.0}
    assert paired_comparison(more, fewer, ("a", "b")) == paired_comparison(by_place(A), by_place(B), ("a", "b"))


@pytest.mark.parametrize(
    ("a", "b", "pairs", "mean", "why"),
    [
        ({}, by_place(B), 0, math.nan, "no pair in common"),
        (by_place(A[:1]), by_place(B), 1, 2.1, "a single pair"),
        (by_place(A), by_place(A), 5, 0.0, "all differences are equal"),
        (by_place([0.1, 0.2, 0.3]), by_place([0.0, 0.1, 0.2]), 3, 0.1, "all differences are equal"),
    ],
)
def test_what_cannot_be_tested_says_why(a, b, pairs, mean, why):
    found = paired_comparison(a, b, ("a", "b"))
    assert (found.pairs, found.why) == (pairs, why)
    assert found.mean_difference == pytest.approx(mean, nan_ok=True)
    assert all(math.isnan(value) for value in (found.p, found.p_holm, *found.interval))


def test_holm_multiplies_step_by_step_and_never_falls():
    # 4 x 0.01; 3 x 0.03; 2 x 0.04 and 1 x 0.05, both held up to 0.09
    assert holm([0.01, 0.04, 0.03, 0.05]) == pytest.approx([0.04, 0.09, 0.09, 0.09])
    assert holm([0.6, 0.001, 0.7]) == pytest.approx([1.0, 0.003, 1.0])
    assert holm([]) == []


def test_holm_leaves_out_what_was_not_tested():
    corrected = holm([math.nan, 0.02, 0.03])
    assert math.isnan(corrected[0])
    assert corrected[1:] == pytest.approx([0.04, 0.04])


def test_every_other_method_is_compared_and_corrected_together():
    results = {"sadvae": by_place(A), "synse": by_place(B), "revise": by_place([50.0, 41.0, 60.5, 47.0, 44.0])}
    found = comparisons(results, "synse")
    assert [c.names for c in found] == [("sadvae", "synse"), ("revise", "synse")]
    assert found[0].mean_difference == pytest.approx(3.0)
    assert [c.p_holm for c in found] == holm([c.p for c in found])


def test_a_method_that_was_not_tested():
    with pytest.raises(InputError, match="sadvea: nothing to compare against; did you mean `sadvae`"):
        comparisons({"sadvae": by_place(A)}, "sadvea")
