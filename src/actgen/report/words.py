"""Runs -> words: the verdict first, then what it rests on, then the next command. The sentences depend on the numbers."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from .chance import at_chance, chance_words
from .mcnemar import one_seed
from .reading import REAL_ONLY, RunView, lead, real_only
from .verdict import MeasuredGain

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


def verdict(arms: Sequence[RunView]) -> MeasuredGain | None:
    """Return what the lead arm's numbers say against real only; None if there is nothing to compare."""
    arm, base = lead(arms), real_only(arms)
    if base is None or base is arm or arm.summary.measured != base.summary.measured:
        return None
    ours, theirs = arm.summary, base.summary
    if ours.right_N is not None and theirs.right_N is not None and len(ours.right_N) == len(theirs.right_N):
        return one_seed(ours.right_N, theirs.right_N, ours.measured)
    if ours.accuracy is None or theirs.accuracy is None:
        return None
    return MeasuredGain(gain=points(theirs.accuracy, ours.accuracy), interval=None, regime="one seed")


def headline(arms: Sequence[RunView]) -> str:
    """Return the result in one sentence, the verdict first."""
    arm, found = lead(arms), verdict(arms)
    end = arm.summary
    if not arm.finished:
        seen = "" if end.accuracy is None else f"; {end.measured} accuracy so far {percent(end.accuracy)}"
        return f"Running: {arm_name(arm.name)}, {len(arm.epochs)} epochs are done{seen}"
    if found is not None:
        return found.said(arm.name)
    if end.accuracy is None:
        return f"Cannot tell: the {end.measured} accuracy of {arm_name(arm.name)} was not measured"
    base = real_only(arms)
    why = "nothing to compare it with" if base is None else "real only was not measured on these images"
    reached = f"{arm_name(arm.name)} reached {percent(end.accuracy)} on the {end.measured} images"
    return (
        f"Real images only: {percent(end.accuracy)} on the {end.measured} images"
        if base is arm
        else (f"Cannot tell: {reached}, {why}")
    )


def next_command(arms: Sequence[RunView]) -> tuple[str, str]:
    """Return what to do next: why, and the command, to be copied."""
    arm, base = lead(arms), real_only(arms)
    recipe, folder = (shlex.quote(str(path)) for path in (arm.folder / "recipe.toml", arm.folder))
    if not arm.finished:
        return "Goes on where it was stopped", f"actgen train --recipe {recipe} --out {folder}"
    if base is None:
        return "The same training on real images only, to compare with", (
            f"actgen train --recipe {recipe} --out {folder} --baseline"
        )
    names = list(
        dict.fromkeys(["none", *(view.name for view in arms if view is not base)] if base is not arm else ["none", "text-only"])
    )
    on = " --evaluate validation" if arm.summary.measured == "validation" else ""
    beside = shlex.quote(f"{arms[0].folder if base is arm else arm.folder}-bench")
    return "Five seeds, which one seed cannot replace", (
        f"actgen bench {recipe} --seeds 0:5 --arms {','.join(names)}{on} --out {beside}"
    )


def remarks(arms: Sequence[RunView]) -> Iterator[str]:
    """Yield what a fair reader should know next to the headline."""
    arm, base = lead(arms), real_only(arms)
    yield from _reached(arms)
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


def _reached(arms: Sequence[RunView]) -> Iterator[str]:
    """Yield the accuracies behind the verdict, the images, and a warning for every arm that only guesses."""
    arm, base = lead(arms), real_only(arms)
    if base is not None and base is not arm and arm.summary.accuracy is not None:
        yield (
            f"{arm.name} {percent(arm.summary.accuracy)} on the {arm.summary.measured} images, real only "
            f"{percent(base.summary.accuracy)}; {whole(arm.summary.synthetic_images)} images generated."
        )
        yield "One training of each: another seed may say otherwise."
    for each in arms:
        end = each.summary
        if end.accuracy is not None and at_chance(end.accuracy, len(end.per_class), images_of(each)):
            yield f"{arm_name(each.name)}: {chance_words(end.accuracy, len(end.per_class))}"


def images_of(arm: RunView) -> int | None:
    """Return how many images an accuracy was measured on, where the run has kept it."""
    return None if arm.summary.right_N is None else len(arm.summary.right_N)


def _rival(arm: RunView, other: RunView) -> Iterator[str]:
    ours, theirs = arm.summary.accuracy, other.summary.accuracy
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
