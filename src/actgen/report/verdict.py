"""A gain with its interval -> helped, harmed or cannot tell: one vocabulary for pages, terminal and bench.

A gain and an equal loss are said in the same words but for the sign and the verdict.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Word = Literal["helped", "harmed", "cannot tell"]
LEVEL = 0.05
"""Chance of an error that a verdict allows."""


@dataclass(frozen=True, kw_only=True)
class MeasuredGain:
    """A difference to what it is compared with, in points.

    `interval`: its ends at `level` percent; None where one number is all there is. `p`: of a test, where there was one.
    `regime` says what the interval knows: "5 seeds", "one seed, 10,000 test images".
    """

    gain: float
    interval: tuple[float, float] | None
    regime: str
    p: float | None = None
    level: float = 95.0

    @property
    def word(self) -> Word:
        """What the numbers say: the interval must leave out 0, and the test, if there was one, must agree."""
        if self.interval is None or (self.p is not None and self.p > LEVEL):
            return "cannot tell"
        low, high = self.interval
        return "helped" if low > 0 else "harmed" if high < 0 else "cannot tell"

    def said(self, who: str, against: str = "real only") -> str:
        """Return the verdict in a sentence, the word first."""
        return f"{self.word.capitalize()}: {who} {points(self.gain)} points against {against} ({self.worth})"

    @property
    def worth(self) -> str:
        """What the number is worth: interval, regime and p."""
        ends = "" if self.interval is None else f"{self.level:.4g}% interval {' to '.join(map(points, self.interval))}"
        test = "" if self.p is None else f"p = {self.p:.2g}"
        return ", ".join(part for part in (ends or "no interval", self.regime, test) if part)


def points(value: float) -> str:
    """Return "+0.43", "−0.05" (with a true minus) or "0.00"."""
    rounded = round(value, 2)
    return f"{rounded:+.2f}".replace("-", "−") if rounded else "0.00"
