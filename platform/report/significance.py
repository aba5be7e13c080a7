"""Whether one method beats another: paired significance tests over the same splits and seeds.

After CLASTER, Sections 7 and 8: both methods are tested on the same random splits, and their differences are compared.
Seeds on the same split share its classes, so their pairs are not independent, and p is smaller than it should be;
the test is meant for values of one seed on many splits.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from platform.configuration import nearest
from platform.errors import InputError

Place = Hashable  # (split, seed), or another key of a pair
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Comparison:
    """Two methods on the pairs that both have: first minus second, in the values' unit.

    standard_deviation: of the differences (n - 1), NaN below two pairs; interval: 95 % confidence interval of the mean
    difference by Student's t; p: of the two-sided paired t-test; p_holm: corrected for all comparisons made together; p
    itself for a single one. Where no test is possible, interval and p are NaN, and `why` holds the reason.
    """

    names: tuple[str, str]
    pairs: int
    mean_difference: float
    standard_deviation: float
    interval: tuple[float, float]
    p: float
    p_holm: float
    why: str = ""


def paired_comparison(a: Mapping[Place, float], b: Mapping[Place, float], names: tuple[str, str]) -> Comparison:
    """The mean difference (CLASTER, Section 8) and the t-test for paired samples (Section 7, Equation 8) of a minus b.

    a, b: a value for each (split, seed); pairs that only one of them has are left out.
    """
    common = [place for place in a if place in b]
    first, second = (np.array([values[place] for place in common], dtype=float) for values in (a, b))
    differences = first - second
    pairs = len(common)
    mean = float(differences.mean()) if pairs else math.nan
    if pairs < 2:
        nothing = "no pair in common" if pairs == 0 else "a single pair"
        return Comparison(names, pairs, mean, math.nan, (math.nan, math.nan), math.nan, math.nan, nothing)
    deviation = float(differences.std(ddof=1))
    # equal differences, as of 0.3 - 0.2 and 0.2 - 0.1, differ in the last bits and would give a p near 0
    if deviation <= 1e-12 * max(np.abs(first).max(), np.abs(second).max()):
        why = "all differences are equal"
        return Comparison(names, pairs, mean, 0.0, (math.nan, math.nan), math.nan, math.nan, why)
    test = stats.ttest_rel(first, second)
    interval = test.confidence_interval(_CONFIDENCE)
    p = float(test.pvalue)
    return Comparison(names, pairs, mean, deviation, (float(interval.low), float(interval.high)), p, p)


def comparisons(results: Mapping[str, Mapping[Place, float]], against: str) -> list[Comparison]:
    """Every other method minus `against`, with Holm's correction. Raises InputError where `against` is missing.

    results: method to (split, seed) to value.
    """
    if against not in results:
        raise InputError(f"{against}: nothing to compare against{nearest(against, results)}")
    found = [
        paired_comparison(values, results[against], (name, against))
        for name, values in results.items()
        if name != against
    ]
    corrected = holm([comparison.p for comparison in found])
    return [replace(comparison, p_holm=p) for comparison, p in zip(found, corrected, strict=True)]


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrected for several comparisons: the family-wise error stays at the level (Holm 1979, step-down).

    The smallest of n is multiplied by n, the next by n - 1, and none falls below the one before it. A NaN stays NaN and
    does not count as a comparison.
    """
    tested = sorted((p, place) for place, p in enumerate(p_values) if not math.isnan(p))
    corrected = [math.nan] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - rank) * p))
        corrected[place] = largest
    return corrected
