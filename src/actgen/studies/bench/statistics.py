"""Paired differences -> intervals, and how many seeds it takes to see one: pure functions of numbers."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95
MOST_SEEDS = 10_000


@dataclass(frozen=True)
class Interval:
    """A mean and the ends of its confidence interval."""

    mean: float
    low: float
    high: float


def t_interval(differences: Sequence[float], level: float = LEVEL) -> Interval | None:
    """Return the interval of Student's t for the mean of paired differences; None for fewer than two."""
    if len(differences) < 2:
        return None
    mean = statistics.fmean(differences)
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    reach = float(stats.t.ppf(0.5 + level / 2, len(differences) - 1)) * error
    return Interval(mean, mean - reach, mean + reach)


def bootstrap_interval(differences: Sequence[float], level: float = LEVEL, seed: int = 0) -> Interval | None:
    """Return the bias-corrected and accelerated bootstrap interval (Efron 1987) of the mean; None for fewer than two.

    With few seeds it is too narrow: the sample of differences is all it knows.
    """
    if len(differences) < 2:
        return None
    mean = statistics.fmean(differences)
    if max(differences) == min(differences):
        return Interval(mean, mean, mean)
    found = stats.bootstrap((differences,), np.mean, confidence_level=level, rng=np.random.default_rng(seed))
    return Interval(mean, float(found.confidence_interval.low), float(found.confidence_interval.high))


def power(effect: float, deviation: float, seeds: int, level: float = LEVEL) -> float:
    """Return the chance that a two-sided paired t test of `seeds` pairs sees a mean difference of `effect`."""
    freedom, shift = seeds - 1, effect / deviation * math.sqrt(seeds)
    critical = stats.t.ppf(0.5 + level / 2, freedom)
    return float(stats.nct.sf(critical, freedom, shift) + stats.nct.cdf(-critical, freedom, shift))


def seeds_needed(differences: Sequence[float], effect: float = 0.5, wanted: float = 0.8, level: float = LEVEL) -> int | None:
    """Return the fewest seeds that see a mean difference of `effect` with chance `wanted`, by the spread of `differences`.

    None if the spread is not known (fewer than two differences) or it takes more than `MOST_SEEDS`.
    """
    if len(differences) < 2:
        return None
    deviation = statistics.stdev(differences)
    if deviation == 0:
        return 2
    low, high = 2, 2
    while power(effect, deviation, high, level) < wanted:
        low, high = high, 2 * high
        if high > MOST_SEEDS:
            return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if power(effect, deviation, middle, level) >= wanted else (middle + 1, high)
    return high


MOST_EXACT = 16
"""Differences up to which all changes of sign are tried: 65,536."""
FLIPS = 100_000


def sign_flip_p(differences: Sequence[float], seed: int = 0) -> float:
    """Return the two-sided p value of a mean difference of 0: how often the sum is as far from 0 when signs fall by lot.

    Exact for up to `MOST_EXACT` differences, else from `FLIPS` lots. 1 for none.
    """
    values = np.array(differences, dtype=np.float64)
    if len(values) <= MOST_EXACT:
        sums = np.zeros(1)
        for value in values:
            sums = np.concatenate([sums + value, sums - value])
        extra = 0
    else:
        signs = np.random.default_rng(seed).integers(0, 2, (FLIPS, len(values)), dtype=np.int8)
        sums, extra = (2.0 * signs - 1.0) @ values, 1
    far = np.abs(sums) >= abs(values.sum()) * (1 - 1e-12) - 1e-12  # sums of the same numbers in another order are equal
    return float((far.sum() + extra) / (len(sums) + extra))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p values adjusted for their number by Holm's (1979) step-down method, in their order."""
    adjusted, worst = [0.0] * len(p_values), 0.0
    for done, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        worst = max(worst, min(1.0, (len(p_values) - done) * p_values[place]))
        adjusted[place] = worst
    return adjusted
