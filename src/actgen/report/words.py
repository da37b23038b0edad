"""Numbers -> words. The sentences depend on the numbers, and one seed is never called evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .reading import REAL_ONLY, RunView, lead, real_only

MISSING = "–"
UNITS = (("h", 3600.0), ("min", 60.0))


def arm_name(name: str) -> str:
    """Return the name of an arm as readers know it."""
    return "real only" if name == REAL_ONLY else name


def percent(value: float | None) -> str:
    """Return "84.1%", or a dash if not measured."""
    return MISSING if value is None else f"{value:.1f}%"


def points(before: float, after: float) -> float:
    """Return the difference of two percentages as printed, so that the sum on the page comes out."""
    return round(round(after, 1) - round(before, 1), 1)


def signed(value: float) -> str:
    """Return "+0.6", "−0.6" (with a true minus) or "0.0"."""
    return f"{value:+.1f}".replace("-", "−") if round(value, 1) else "0.0"


def whole(value: int | None) -> str:
    """Return a count with thousands apart, or a dash."""
    return MISSING if value is None else f"{value:,}".replace(",", "\u202f")


def duration_unit(seconds: float) -> tuple[str, float]:
    """Return the unit that suits `seconds`, and its length in seconds."""
    return next(((name, length) for name, length in UNITS if seconds >= 2 * length), ("s", 1.0))


def duration(seconds: float) -> str:
    """Return "4.2 min" or the like, a dash for no time at all."""
    if not seconds:
        return MISSING
    unit, length = duration_unit(seconds)
    return f"{seconds / length:.1f} {unit}"


def headline(arms: Sequence[RunView]) -> str:
    """Return the result in one sentence: won, lost or level, and what that is worth."""
    arm, base = lead(arms), real_only(arms)
    reached, usual = arm.summary.test_accuracy, base.summary.test_accuracy if base else None
    if reached is None:
        return f"{arm_name(arm.name)}: test accuracy was not measured"
    if base is None or base is arm:
        return f"{arm_name(arm.name)}: {percent(reached)} on the test set (one run: nothing to compare it with)"
    if usual is None:
        return f"{arm_name(arm.name)}: {percent(reached)}; real only was not measured, so there is no comparison"
    return f"{arm.name}: {percent(reached)} against {percent(usual)} real only ({_verdict(points(usual, reached))})"


def _verdict(difference: float) -> str:
    if difference > 0:
        return f"{signed(difference)} points, one seed: not evidence of a gain"
    if difference < 0:
        return f"{signed(difference)} points: it lost; one seed"
    return "no difference; one seed"


def remarks(arms: Sequence[RunView]) -> Iterator[str]:
    """Yield what a fair reader should know next to the headline."""
    arm, base = lead(arms), real_only(arms)
    for other in arms:
        if other not in (arm, base):
            yield from _rival(arm, other)
    if base and base is not arm:
        yield from _price(arm, base)
    yield from _steps(arms)
    if left_out := lead(arms).summary.left_out_images:
        yield f"Image files of the data that could not be used and were left out: {whole(left_out)}."
    unread = sum(view.unread for view in arms)
    if unread:
        yield f"Left out, because they could not be read: {unread} line(s) of the files of the run."


def _rival(arm: RunView, other: RunView) -> Iterator[str]:
    ours, theirs = arm.summary.test_accuracy, other.summary.test_accuracy
    if ours is None or theirs is None:
        return
    gap = points(ours, theirs)
    verdict = f"{signed(abs(gap)).lstrip('+')} points {'better' if gap > 0 else 'worse'} than" if gap else "level with"
    yield f"{other.name} reached {percent(theirs)}, {verdict} {arm.name}."


def _price(arm: RunView, base: RunView) -> Iterator[str]:
    ours, usual = (view.summary.train_seconds + view.summary.generation_seconds for view in (arm, base))
    if ours and usual:
        yield f"{arm.name} took {duration(ours)}, real only {duration(usual)}: {ours / usual:.1f} times as long."


def _steps(arms: Sequence[RunView]) -> Iterator[str]:
    steps = [arm.summary.optimizer_steps for arm in arms if arm.summary.optimizer_steps is not None]
    if len(set(steps)) > 1:
        low, high = whole(min(steps)), whole(max(steps))
        yield f"The arms took different numbers of optimiser steps ({low} to {high}): part of a difference may be that."
    elif len(steps) > 1:
        yield f"Every arm took the same {whole(steps[0])} optimiser steps."
