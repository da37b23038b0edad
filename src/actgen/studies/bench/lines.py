"""Comparisons and rows -> lines of a figure: plain numbers, no drawing."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from .arms import BASE
from .compare import Comparison
from .rows import Row, order
from .statistics import t_interval


@dataclass(frozen=True, kw_only=True)
class Line:
    """The line of an arm: `y` at `x` with the ends of its interval, which are `y` itself where there is none."""

    arm: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def gains_by_images(compared: Sequence[Comparison]) -> list[Line]:
    """Return gain in points against generated images, for the arms that have some."""
    return _gains([one for one in compared if one.images], lambda one: one.images)


def gains_by_seconds(compared: Sequence[Comparison]) -> list[Line]:
    """Return gain in points against the seconds of a run, training and generation."""
    return _gains(compared, seconds)


def seconds(one: Comparison) -> float:
    """Return what a run takes in all."""
    return one.train_seconds + one.generation_seconds


def accuracy_by_epoch(rows: Sequence[Row]) -> list[Line]:
    """Return mean accuracy in percent against epochs (from 1) of every arm, real only included, at its largest budget."""
    rows = sorted(rows, key=order)
    most = {row["arm"]: max(other["budget"] for other in rows if other["arm"] == row["arm"]) for row in rows}
    curves = {
        arm: [row.get("by_epoch") or () for row in rows if (row["arm"], row["budget"]) == (arm, most[arm])] for arm in most
    }
    return [line for arm in most if (line := _mean(arm, curves[arm])).x]


def _gains(compared: Sequence[Comparison], place: Callable[[Comparison], float]) -> list[Line]:
    drawn = [one for one in compared if one.gain is not None]
    return [
        _line(arm, [(place(one), *_ends(one.differences or ())) for one in line])
        for arm, line in groupby(drawn, lambda one: one.arm)
    ]


def _mean(arm: str, curves: Sequence[Sequence[float | None]]) -> Line:
    """Return the mean of curves where all have a measurement."""
    measured = [[value for value in values if value is not None] for values in zip(*curves, strict=False)]
    return _line(arm, [(epoch, *_ends(values)) for epoch, values in enumerate(measured, 1) if len(values) == len(curves)])


def _ends(values: Sequence[float]) -> tuple[float, float, float]:
    mean, interval = statistics.fmean(values), t_interval(values)
    return (mean, interval.low, interval.high) if interval else (mean, mean, mean)


def _line(arm: str, points: Sequence[tuple[float, float, float, float]]) -> Line:
    x, y, low, high = zip(*points, strict=True) if points else ((), (), (), ())
    return Line(arm=arm, x=x, y=y, low=low, high=high)


def is_base(line: Line) -> bool:
    """Whether a line is that of real images only."""
    return line.arm == BASE
