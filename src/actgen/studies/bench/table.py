"""Comparisons -> a Markdown table; a function of results.jsonl alone."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from .compare import Comparison, compare
from .rows import Row, kind
from .statistics import Interval, t_interval

NOTHING = "–"
EXPLAINED = (
    "Gain: mean paired difference to `none` of the same seeds, in points, with its interval by Student's t; then per 1,000 "
    "images and per second of generation. Seconds are means of a run. Seeds for 0.5: how many see a difference of half a point "
    "with a chance of 80%, by the spread found here."
)
ONE_SEED = "One seed proves nothing: its difference may be noise, and there is no interval."


def make_table(rows: Sequence[Row]) -> str:
    """Return the Markdown text of all recipes in `rows`."""
    compared = compare(rows)
    recipes = dict.fromkeys(one.recipe for one in compared)
    return "\n".join(_section(recipe, [one for one in compared if one.recipe == recipe], kind(rows[0])) for recipe in recipes)


def heads(measured: str) -> tuple[str, ...]:
    """Return the titles of the columns; `measured` is "test" or "validation"."""
    return (
        "arm",
        "budget",
        "seeds",
        f"{measured} accuracy",
        "gain",
        "95% interval",
        "per 1,000 images",
        "per second",
        "training",
        "generation",
        "seeds for 0.5",
    )


def cells(one: Comparison) -> tuple[str, ...]:
    """Return what the columns say of an arm."""
    return (
        one.arm,
        f"{one.budget:g}" if one.budget else NOTHING,
        str(len(one.accuracies)),
        f"{one.accuracy:.2f}%",
        points(one.gain),
        interval_words(one.interval),
        points(one.per_thousand),
        points(one.per_second, 4),
        f"{one.train_seconds:.0f} s",
        f"{one.generation_seconds:.0f} s" if one.images else NOTHING,
        str(one.seeds_needed or NOTHING),
    )


def points(value: float | None, digits: int = 2) -> str:
    """Return "+0.43" or "−0.05" (with a true minus), a dash for no value."""
    return NOTHING if value is None else f"{value:+.{digits}f}".replace("-", "−")


def interval_words(interval: Interval | None) -> str:
    """Return "−0.02 to +0.48", a dash for no interval."""
    return NOTHING if interval is None else f"{points(interval.low)} to {points(interval.high)}"


def notes(compared: Sequence[Comparison]) -> list[str]:
    """Return what a reader has to know beside the numbers."""
    paired = [len(one.differences) for one in compared if one.differences is not None]
    said = [EXPLAINED]
    if 1 in paired:
        said.append(ONE_SEED)
    if any(one.differences is not None and len(one.differences) < len(one.accuracies) for one in compared):
        said.append("Some seeds have no run of `none`; differences leave them out.")
    if above := [one for one in compared if one.beyond]:
        said.append(f"On top of a control, against the control alone: {'; '.join(map(_beyond, above))}.")
    return said


def _beyond(one: Comparison) -> str:
    gain, interval = points(statistics.fmean(one.beyond)), interval_words(t_interval(one.beyond))
    return f"`{one.arm}` {one.budget:g} {gain} ({interval}) over `{one.control}`"


def _section(recipe: str, compared: Sequence[Comparison], measured: str) -> str:
    titles = heads(measured)
    lines = [f"## {recipe}", "", _line(titles), _line(["---"] + ["---:"] * (len(titles) - 1))]
    lines += [_line([f"`{first}`", *rest]) for first, *rest in map(cells, compared)]
    return "\n".join([*lines, "", *(note + "\n" for note in notes(compared))])


def _line(parts: Sequence[str]) -> str:
    return "| " + " | ".join(parts) + " |"
