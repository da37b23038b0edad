"""A comparison in sentences; they depend on the numbers, and one seed is never called evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...report.words import arm_name, duration, whole
from .arms import BASE
from .compare import Comparison
from .rows import Row
from .table import ONE_SEED, interval_words, points


def lead(compared: Sequence[Comparison]) -> Comparison | None:
    """Return what the page is about: `actgen` at its largest budget, or else the last arm that is compared with real only."""
    paired = [one for one in compared if one.gain is not None]
    return next((one for one in reversed(paired) if one.arm == "actgen"), paired[-1] if paired else None)


def headline(compared: Sequence[Comparison]) -> str:
    """Return the result in one sentence, with what it is worth."""
    one = lead(compared)
    if one is None:
        return "Nothing to compare: no arm has a seed in common with real only"
    assert one.gain is not None
    share = f" with {100 * one.budget:g}% generated images" if one.budget else ""
    return f"{one.arm}{share}: {points(one.gain)} points over real only ({_worth(one)})"


def _worth(one: Comparison) -> str:
    interval, seeds = one.interval, len(one.differences or ())
    if interval is None:
        return "one seed: not evidence"
    verdict = "a gain" if interval.low > 0 else "a loss" if interval.high < 0 else "not told apart from no difference"
    return f"95% interval {interval_words(interval)}, {seeds} seeds: {verdict}"


def remarks(compared: Sequence[Comparison], rows: Sequence[Row]) -> Iterator[str]:
    """Yield what a fair reader should know next to the headline."""
    if any(len(one.differences or ()) == 1 for one in compared):
        yield ONE_SEED
    yield from _equal(rows)
    arms = [one for one in compared if one.gain is not None]
    above = [one for one in arms if (interval := one.interval) is not None and interval.low > 0]
    if len(arms) > 1:
        yield f"Intervals above 0: {len(above)} of {len(arms)}. Of twenty arms that do nothing, one misses 0 by chance."
    base = next((one for one in compared if one.arm == BASE), None)
    if (first := lead(compared)) is not None and base is not None and first.images:
        usual, spent = base.train_seconds, first.train_seconds + first.generation_seconds
        times = f"{spent / usual:.1f} times as long"
        yield f"A run of {first.arm} took {duration(spent)}, one of {arm_name(BASE)} {duration(usual)}: {times}."


def _equal(rows: Sequence[Row]) -> Iterator[str]:
    """Yield what was checked to be the same (`fairness.differences`)."""
    steps, real = rows[0]["optimizer_steps"], rows[0].get("real_images")
    images = f" and the same {whole(real)} real images, held-out ones included" if real else ""
    yield f"Every run took {whole(steps)} optimiser steps; the arms of a seed share their initial weights{images}."


def caption(figure: str, compared: Sequence[Comparison]) -> str:
    """Return what a figure's picture shows, for those who do not see it."""
    paired = [one for one in compared if one.gain is not None]
    return f"{figure}: " + "; ".join(
        f"{one.arm} at {one.budget:g}: {points(one.gain)} ({interval_words(one.interval)})" for one in paired
    )
