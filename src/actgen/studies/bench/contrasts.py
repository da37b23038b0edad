"""Primary contrasts: gain, interval and p value of each, corrected for their number.

p values: a sign-flip test over the label sets that both arms have, adjusted by Holm. Intervals: over label sets and test images
(`clusters.py`), at the level 1 - alpha/m each, so that all m cover together with 1 - alpha (Bonferroni); what such an interval
tells from 0, Holm mostly tells as well, and he may tell more.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from .clusters import Resampled, resample
from .paired import paired_table
from .protocol import Contrast, Protocol
from .rows import Row
from .statistics import Interval, holm, sign_flip_p


@dataclass(frozen=True, kw_only=True)
class Tested:
    """A contrast as measured: `differences` of its label sets, in points; None of what cannot be said yet."""

    contrast: Contrast
    differences: tuple[float, ...]
    interval: Interval | None
    p: float
    adjusted: float

    @property
    def gain(self) -> float | None:
        """Mean difference in points."""
        return statistics.fmean(self.differences) if self.differences else None


def measure_contrasts(rows: Sequence[Row], protocol: Protocol) -> list[Tested]:
    """Return the primary contrasts of a protocol, measured on `rows`."""
    tables = [paired_table(rows, *contrast.cells) for contrast in protocol.primary]
    differences = [tuple(100 * table.mean(axis=1)) if table is not None else () for table in tables]
    spread: list[Resampled | None] = [None if table is None else resample(100 * table) for table in tables]
    p_values = [sign_flip_p(one) for one in differences]
    level = 1 - protocol.alpha / max(1, len(p_values))
    return [
        Tested(contrast=contrast, differences=own, interval=None if known is None else known.interval(level), p=p, adjusted=q)
        for contrast, own, known, p, q in zip(protocol.primary, differences, spread, p_values, holm(p_values), strict=True)
    ]
