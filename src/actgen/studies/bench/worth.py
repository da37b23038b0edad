"""What generated images are worth in labelled real ones: the point of the curve of more real images where the gain is the same.

The curve goes through 0 and the arms more-real-N; between these it is straight, and it never falls: where more images did not
help it stays level (the curve's running maximum). Every resample of label sets and test images has a curve of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .clusters import Numbers, Resampled
from .statistics import LEVEL

_MORE_REAL = re.compile(r"more-real[:-]([1-9]\d*)")


@dataclass(frozen=True, kw_only=True)
class Worth:
    """Labelled real images, with the ends of the interval: minus infinity is less than 0, infinity more than `most`."""

    value: float
    low: float
    high: float
    most: int

    def __str__(self) -> str:
        return f"{self._said(self.value)} ({self._said(self.low)} to {self._said(self.high)})"

    def _said(self, value: float) -> str:
        return "less than 0" if value < 0 else f"more than {self.most:,}" if value > self.most else f"{value:,.0f}"


def more_real(arm: str) -> int | None:
    """Return N of an arm more-real-N; None for another one."""
    found = _MORE_REAL.fullmatch(arm)
    return int(found[1]) if found else None


def worth(gain: Resampled, curve: Mapping[int, Resampled]) -> Worth:
    """Return what a gain is worth by the gains of more real images, which are resampled alike; `curve` has one or more."""
    counts = [0, *sorted(curve)]
    heights_CB = np.stack([np.zeros(len(gain.draws_B)), *(curve[count].draws_B for count in counts[1:])])
    means_C1 = np.array([[0.0], *([curve[count].mean] for count in counts[1:])])
    drawn_B = images_for(gain.draws_B, counts, heights_CB)
    low, high = np.quantile(drawn_B, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2], method="inverted_cdf")
    value = images_for(np.array([gain.mean]), counts, means_C1)[0]
    return Worth(value=float(value), low=float(low), high=float(high), most=counts[-1])


def images_for(gains_B: Numbers, counts: list[int], heights_CB: Numbers) -> Numbers:
    """Return how many images give each of B gains, [B], on curves of `heights_CB` at C `counts`, of which the first is 0.

    Minus infinity below the curve, infinity above it.
    """
    risen_CB = np.maximum.accumulate(heights_CB, axis=0)
    found_B = np.where(gains_B < risen_CB[0], -np.inf, np.inf)
    for place in range(1, len(counts)):
        low_B, high_B = risen_CB[place - 1], risen_CB[place]
        here_B = (found_B == np.inf) & (gains_B <= high_B)
        rise_B = np.where(high_B > low_B, high_B - low_B, 1.0)
        between_B = counts[place - 1] + (gains_B - low_B) / rise_B * (counts[place] - counts[place - 1])
        found_B = np.where(here_B, between_B, found_B)
    return found_B
