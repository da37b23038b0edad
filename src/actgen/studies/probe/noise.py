"""How much of a share, or of a difference, may be chance: bootstrap intervals over the images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from ..bench.statistics import LEVEL, Interval

_TIMES = 20_000


def share_interval(hits: Sequence[bool], level: float = LEVEL) -> Interval:
    """Return the percentile bootstrap interval of a share, in percent; of one value or more.

    A resampled share is binomial, so its quantiles are known and nothing is drawn by lot. Where all values are the same the
    bootstrap knows no chance at all; there the interval is the exact one (Clopper and Pearson 1934).
    """
    count, share = len(hits), sum(hits) / len(hits)
    if 0 < share < 1:
        ends = stats.binom.ppf(((1 - level) / 2, (1 + level) / 2), count, share) / count
        return Interval(100 * share, 100 * float(ends[0]), 100 * float(ends[1]))
    exact = stats.binomtest(sum(hits), count).proportion_ci(level)
    return Interval(100 * share, 100 * float(exact.low), 100 * float(exact.high))


def paired_interval(one: Sequence[bool], other: Sequence[bool], level: float = LEVEL) -> Interval:
    """Return the percentile bootstrap interval of the difference of two shares of the same images, in points."""
    differences = np.asarray(one, dtype=np.int64) - np.asarray(other, dtype=np.int64)
    shares = [float((differences == value).mean()) for value in (-1, 0, 1)]
    generated = np.random.default_rng(0).multinomial(len(differences), shares, size=_TIMES)
    low, high = np.quantile((generated[:, 2] - generated[:, 0]) / len(differences), ((1 - level) / 2, (1 + level) / 2))
    return Interval(100 * float(differences.mean()), 100 * float(low), 100 * float(high))


def difference_interval(one: Sequence[float], other: Sequence[float], level: float = LEVEL) -> Interval:
    """Return mean and interval of the differences of paired bootstrap values."""
    differences = np.asarray(one) - np.asarray(other)
    low, high = np.quantile(differences, ((1 - level) / 2, (1 + level) / 2))
    return Interval(float(differences.mean()), float(low), float(high))
