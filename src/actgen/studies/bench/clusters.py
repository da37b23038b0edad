"""Which images were right on which label sets -> a mean and its spread over label sets and test images alike.

Two label sets would teach a classifier other things, and other test images would ask it other things: both are samples. The
bootstrap generates rows and columns of the table independently (the pigeonhole bootstrap of Owen 2007, Ann. Appl. Stat. 1(2)).
It counts what is left of a cell, its own noise, three times; so its deviations are scaled to the variance that counts it once
(that of the mean in the two-way layout with random effects), and, the label sets being few, widened from the normal
distribution to Student's t with one degree of freedom less than there are label sets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import stats

from .statistics import LEVEL, Interval

RESAMPLES = 2000
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Resampled:
    """A mean, and the `draws_B` of it that other label sets and images might have given, each in the unit of the mean.

    `freedom`: degrees of freedom of its spread.
    """

    mean: float
    draws_B: Numbers
    freedom: int

    def interval(self, level: float = LEVEL) -> Interval:
        """Return the interval that covers the mean of all label sets and images with chance `level`."""
        wider = float(stats.t.ppf(0.5 + level / 2, self.freedom) / stats.norm.ppf(0.5 + level / 2))
        low, high = np.quantile(self.draws_B - self.mean, [0.5 - level / 2, 0.5 + level / 2])
        return Interval(self.mean, self.mean + wider * float(low), self.mean + wider * float(high))


def resample(table_SN: Numbers, count: int = RESAMPLES, seed: int = 0) -> Resampled | None:
    """Return the mean of a table of S label sets by N test images, resampled; None for fewer than two of either.

    Tables of the same shape are resampled alike, so that generates of different arms can be subtracted, number by number.
    """
    sets, images = table_SN.shape
    if min(sets, images) < 2:
        return None
    sets_BS, images_BN = _shares(sets, images, count, seed)
    mean = float(table_SN.mean())
    drawn_B = np.einsum("bn,bn->b", sets_BS @ table_SN.astype(np.float32), images_BN).astype(np.float64)
    spread = float(drawn_B.std())
    scale = math.sqrt(variance(table_SN)) / spread if spread > 0 else 0.0
    return Resampled(mean, mean + scale * (drawn_B - drawn_B.mean()), sets - 1)


def variance(table_SN: Numbers) -> float:
    """Return the variance of the mean of a table of label sets by images: that over sets, and images, less that of the cells.

    Both of the first two hold the cells' own; so they count it once in all. Never less than either of them.
    """
    sets, images = table_SN.shape
    rows_S1, columns_1N = table_SN.mean(axis=1, keepdims=True), table_SN.mean(axis=0, keepdims=True)
    of_sets, of_images = float(rows_S1.var(ddof=1)) / sets, float(columns_1N.var(ddof=1)) / images
    left = table_SN - rows_S1 - columns_1N + table_SN.mean()
    of_cells = float((left**2).sum()) / ((sets - 1) * (images - 1) * sets * images)
    return float(max(of_sets + of_images - of_cells, of_sets, of_images))


@lru_cache(maxsize=4)
def _shares(sets: int, images: int, count: int, seed: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the shares [B, S] of the label sets and [B, N] of the images in `count` resamples; each row sums to 1."""
    rng = np.random.default_rng(seed)
    generated = (
        np.stack([np.bincount(rng.integers(size, size=size), minlength=size) for _ in range(count)]) / size
        for size in (sets, images)
    )
    of_sets, of_images = (shares.astype(np.float32) for shares in generated)
    return of_sets, of_images
