"""Rows -> comparisons: what every arm gained over real images only, on the same seeds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby

from .arms import BASE, control_of
from .clusters import Numbers, Resampled, resample
from .paired import paired_table
from .rows import Row, accuracy, order, unit
from .statistics import LEVEL, Interval, bootstrap_interval, seeds_needed, t_interval


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """An arm at a budget. `accuracies` of its seeds in percent; `differences` to real only, in points, of the seeds that both
    have (None for real only itself); `images`, `train_seconds` and `generation_seconds` are means over the seeds. `control`
    is what the arm generates on top of, if it does, and `beyond` its differences to that. `table`: its differences to real
    only by label set and test image, [S, N] in [-1, 1], where the rows have them. `proxy_steps`:
    optimiser steps of other classifiers before the training.
    """

    recipe: str
    arm: str
    budget: float
    accuracies: tuple[float, ...]
    differences: tuple[float, ...] | None
    images: float
    train_seconds: float
    generation_seconds: float
    control: str | None = None
    beyond: tuple[float, ...] = ()
    proxy_steps: float = 0.0
    table: Numbers | None = field(default=None, compare=False, repr=False)

    @property
    def facts(self) -> dict[str, object]:
        """Return the arm's figures by name: percent, points and seconds."""
        interval = self.interval
        return {
            "recipe": self.recipe,
            "arm": self.arm,
            "budget": self.budget,
            "runs": len(self.accuracies),
            "accuracy": self.accuracy,
            "gain": self.gain,
            "low": interval and interval.low,
            "high": interval and interval.high,
            "images": self.images,
            "train_seconds": self.train_seconds,
            "generation_seconds": self.generation_seconds,
            "proxy_steps": self.proxy_steps,
        }

    @property
    def accuracy(self) -> float:
        """Mean accuracy in percent."""
        return statistics.fmean(self.accuracies)

    @property
    def gain(self) -> float | None:
        """Mean paired difference in points."""
        return statistics.fmean(self.differences) if self.differences else None

    @property
    def interval(self) -> Interval | None:
        """Interval around the gain: over label sets and test images where these are known, else by Student's t."""
        return self.interval_at(LEVEL)

    def interval_at(self, level: float) -> Interval | None:
        """As `interval`, with another chance (in [0, 1]) to hold the gain."""
        if self.resampled is not None:
            return self.resampled.interval(level)
        return t_interval(self.differences or (), level)

    @cached_property
    def resampled(self) -> Resampled | None:
        """The gain as other label sets and test images might have given it."""
        return None if self.table is None else resample(100 * self.table)

    @property
    def bootstrap(self) -> Interval | None:
        """Bootstrap interval around the gain."""
        return bootstrap_interval(self.differences or ())

    @property
    def seeds_needed(self) -> int | None:
        """Seeds that it takes to see half a point."""
        return seeds_needed(self.differences or ())

    @property
    def per_thousand(self) -> float | None:
        """Gain in points per 1,000 generated images."""
        return None if self.gain is None or not self.images else 1000 * self.gain / self.images

    @property
    def per_second(self) -> float | None:
        """Gain in points per second of generation."""
        return (
            None if self.gain is None or not self.images or not self.generation_seconds else self.gain / self.generation_seconds
        )


def compare(rows: Sequence[Row]) -> list[Comparison]:
    """Return a comparison for every recipe, arm and budget, in the order of the rows."""
    real_only = {(row["recipe"], row["arm"], *unit(row)): accuracy(row) for row in rows if not row["budget"]}
    groups = groupby(sorted(rows, key=order), key=lambda row: (row["recipe"], row["arm"], row["budget"]))
    return [_compared(list(group), real_only, paired_table(rows, cell, (cell[0], BASE, 0.0))) for cell, group in groups]


def best_first(compared: Sequence[Comparison]) -> list[Comparison]:
    """Return the comparisons of each recipe: real only, then the largest gain first, then what is compared with nothing."""
    recipes = list(dict.fromkeys(one.recipe for one in compared))
    return sorted(
        compared,
        key=lambda one: (recipes.index(one.recipe), one.arm != BASE, one.gain is None, 0.0 if one.gain is None else -one.gain),
    )


def _compared(group: Sequence[Row], real_only: dict[tuple[str, str, int, int], float], table: Numbers | None) -> Comparison:
    first = group[0]
    control = control_of(first["arm"])

    def differences(other: str) -> tuple[float, ...]:
        pairs = [(accuracy(row), real_only.get((row["recipe"], other, *unit(row)))) for row in group]
        return tuple(own - real for own, real in pairs if real is not None)

    def mean(value: Callable[[Row], float]) -> float:
        return statistics.fmean(value(row) for row in group)

    return Comparison(
        recipe=first["recipe"],
        arm=first["arm"],
        budget=first["budget"],
        accuracies=tuple(map(accuracy, group)),
        differences=differences(BASE) if first["arm"] != BASE else None,
        control=control,
        beyond=differences(control) if control else (),
        images=mean(lambda row: row["synthetic_images"]),
        train_seconds=mean(lambda row: row["train_seconds"]),
        generation_seconds=mean(lambda row: row["generation_seconds"]),
        table=table if first["arm"] != BASE else None,
        proxy_steps=mean(lambda row: row.get("proxy_steps", 0)),
    )
