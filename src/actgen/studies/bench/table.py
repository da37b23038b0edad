"""Comparisons -> a Markdown table; a function of results.jsonl alone."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from .clusters import Resampled
from .compare import Comparison, best_first, compare
from .contrasts import Tested, measure_contrasts
from .protocol import Protocol
from .rows import Row, kind, of_label_sets, right_of
from .statistics import Interval, t_interval
from .worth import more_real, worth

NOTHING = "–"
WORTH = "worth in labelled real images (95%)"
EXPLAINED = (
    "Gain: mean paired difference to `none` of the same seeds, in points, with its interval by Student's t; then per 1,000 "
    "images and per second of generation. Seconds are means of a run. Seeds for 0.5: how many see a difference of half a point "
    "with a chance of 80%, by the spread found here."
)
OF_LABEL_SETS = (
    "Gain: mean paired difference to `none` on the same label sets, in points, with its interval over label sets and test "
    "images (two-way bootstrap); then per 1,000 images and per second of generation. Seconds are means of a run. Label sets "
    "for 0.5: how many see a difference of half a point with a chance of 80%, by the spread found here, on these test images."
)
ONE_SEED = "One seed proves nothing: its difference may be noise, and there is no interval."


def make_table(rows: Sequence[Row], protocol: Protocol | None = None, *, final: bool = False) -> str:
    """Return the Markdown text of all recipes in `rows`.

    With a `protocol`: of its open test images, its primary contrasts first; in the `final` look of those held back.
    """
    declared = ""
    if protocol is not None:
        rows = [protocol.shown(row, final) for row in rows]
        declared = _declared(rows, protocol, final)
    compared = best_first(compare(rows))
    recipes = dict.fromkeys(one.recipe for one in compared)
    repeated = unit_name(rows)
    return declared + "\n".join(
        _section(recipe, [one for one in compared if one.recipe == recipe], kind(rows[0]), repeated, protocol)
        for recipe in recipes
    )


def unit_name(rows: Sequence[Row]) -> str:
    """Return what the runs of an arm differ in: "seeds", or "label sets"."""
    return "label sets" if of_label_sets(rows) else "seeds"


def extra(compared: Sequence[Comparison], protocol: Protocol | None) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the further columns of a recipe's arms, titles and cells.

    Of label sets: steps before the training, and what a gain is worth in real images; of a protocol: the arm's role.
    """
    curve = {many: one.resampled for one in compared if (many := more_real(one.arm)) and one.resampled is not None}
    of_sets = any(one.table is not None for one in compared)
    titles = (*(["proxy steps"] if of_sets else []), *([WORTH] if curve else []), *(["role"] if protocol is not None else []))
    return titles, [
        (
            *([f"{one.proxy_steps:,.0f}"] if of_sets else []),
            *([_worth(one, curve)] if curve else []),
            *([role(one, protocol)] if protocol is not None else []),
        )
        for one in compared
    ]


def _worth(one: Comparison, curve: Mapping[int, Resampled]) -> str:
    known = one.resampled
    return NOTHING if known is None or more_real(one.arm) else str(worth(known, curve))


def role(one: Comparison, protocol: Protocol) -> str:
    """Return whether an arm is in a primary contrast of the protocol, in a word."""
    return "primary" if (one.recipe, one.arm, one.budget) in protocol.named else "exploratory"


def contrast_heads(protocol: Protocol) -> tuple[str, ...]:
    """Return the titles of the columns of primary contrasts; the level of the intervals is that of each of m."""
    level = 100 * (1 - protocol.alpha / max(1, len(protocol.primary)))
    return ("recipe", "arm", "against", "label sets", "gain", f"{level:.4g}% interval", "p", "p by Holm", "verdict")


def contrast_cells(one: Tested, alpha: float) -> tuple[str, ...]:
    """Return what the columns say of a primary contrast."""
    asked, told = one.contrast, one.adjusted <= alpha and one.gain is not None
    verdict = "not told apart" if not told or one.gain is None else "a gain" if one.gain > 0 else "a loss"
    return (
        asked.recipe,
        _at(asked.arm, asked.budget),
        _at(asked.against, asked.against_budget),
        str(len(one.differences)),
        points(one.gain),
        interval_words(one.interval),
        f"{one.p:.2g}",
        f"{one.adjusted:.2g}",
        verdict if one.differences else "not measured yet",
    )


def declared_note(protocol: Protocol, images: int, final: bool) -> str:
    """Return in words what a protocol says of the numbers."""
    half = "held back until the final look, which this is" if final else "open; the other half is held back for the final look"
    return (
        f"Declared in a protocol before the test (sha256 {protocol.sha256[:12]}): {len(protocol.primary)} primary contrasts, "
        f"alpha {protocol.alpha:g} over all of them by Holm; p by changes of sign over the label sets; intervals by "
        f"Bonferroni, over label sets and test images. Every other arm is exploratory. Measured on {images:,} test images: the "
        f"half that is {half}."
    )


def _declared(rows: Sequence[Row], protocol: Protocol, final: bool) -> str:
    titles = contrast_heads(protocol)
    lines = [_line(contrast_cells(one, protocol.alpha)) for one in measure_contrasts(rows, protocol)]
    right = right_of(rows[0])
    note = declared_note(protocol, 0 if right is None else len(right), final)
    return "\n".join(
        ["## Primary contrasts", "", _line(titles), _line(["---"] * 3 + ["---:"] * 5 + ["---"]), *lines, "", note, "\n"]
    )


def _at(arm: str, budget: float) -> str:
    return f"{arm} {budget:g}" if budget else arm


def heads(measured: str, repeated: str = "seeds") -> tuple[str, ...]:
    """Return the titles of the columns; `measured` is "test" or "validation", `repeated` what `unit_name` says."""
    return (
        "arm",
        "budget",
        repeated,
        f"{measured} accuracy",
        "gain",
        "95% interval",
        "per 1,000 images",
        "per second",
        "training",
        "generation",
        f"{repeated} for 0.5",
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
    said = [EXPLAINED if all(one.table is None for one in compared) else OF_LABEL_SETS]
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


def _section(recipe: str, compared: Sequence[Comparison], measured: str, repeated: str, protocol: Protocol | None) -> str:
    more, also = extra(compared, protocol)
    titles = (*heads(measured, repeated), *more)
    lines = [f"## {recipe}", "", _line(titles), _line(["---"] + ["---:"] * (len(titles) - 1))]
    for one, own in zip(compared, also, strict=True):
        first, *rest = cells(one)
        lines.append(_line([f"`{first}`", *rest, *own]))
    return "\n".join([*lines, "", *(note + "\n" for note in notes(compared))])


def _line(parts: Sequence[str]) -> str:
    return "| " + " | ".join(parts) + " |"
