"""Two classifiers on the same images -> verdict of one seed: McNemar's exact test and an interval of the difference.

McNemar, Q. (1947), Psychometrika 12: only images that one of the two recognises say anything, and if neither is better each
is as likely as the other. Interval: Agresti and Min (2005), Statistics in Medicine 24: half an image is added to each of the
four cells, then Wald's interval of paired proportions.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from ..classifiers.correctness import Right
from .verdict import LEVEL, MeasuredGain


def one_seed(ours_N: Right, theirs_N: Right, measured: str) -> MeasuredGain:
    """Return the verdict on one run against another, from which of the N images each recognised.

    `measured`: "test" or "validation". The images are the same and in the same order.
    """
    images = len(ours_N)
    gained, lost = int(np.sum(ours_N & ~theirs_N)), int(np.sum(theirs_N & ~ours_N))
    p = float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    total, more, less = images + 2.0, gained + 0.5, lost + 0.5
    mean = (more - less) / total
    reach = float(stats.norm.ppf(1 - LEVEL / 2)) * math.sqrt((more + less - (more - less) ** 2 / total) / total**2)
    return MeasuredGain(
        gain=100 * (gained - lost) / images,
        interval=(100 * (mean - reach), 100 * (mean + reach)),
        regime=f"one seed, {images:,} {measured} images, McNemar",
        p=p,
    )
