"""A comparison in sentences, the verdict first: the best arm after correction, the best control without a generator."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from scipy import stats

from ...report.chance import at_chance, chance_words
from ...report.verdict import LEVEL, MeasuredGain
from ...report.words import arm_name, duration, whole
from .arms import BASE
from .compare import Comparison
from .protocol import Protocol
from .rows import Row, accuracy, kind, right_of
from .statistics import holm, sign_flip_p
from .table import ONE_SEED, interval_words, points, role


@dataclass(frozen=True, kw_only=True)
class Judged:
    """An arm with its verdict, which counts how many arms were looked at (`family`)."""

    arm: Comparison
    verdict: MeasuredGain
    family: int

    @property
    def name(self) -> str:
        """The arm, and how much it generates."""
        share = f" with {100 * self.arm.budget:g}% generated images" if self.arm.budget else ""
        return f"{self.arm.arm}{share}"


def judge(compared: Sequence[Comparison], protocol: Protocol | None = None) -> list[Judged]:
    """Return the verdict on every arm that is compared with real only, best first.

    p values by a paired t test over seeds, or by changes of sign over label sets, adjusted by Holm; intervals by Bonferroni.
    The family is every arm; with a protocol its primary arms, so that exploratory ones cost them nothing. An exploratory arm
    beside a protocol is judged among all.
    """
    paired = [one for one in compared if one.gain is not None]
    primary = [one for one in paired if protocol is not None and role(one, protocol) == "primary"]
    found = _family(paired) | _family(primary)
    ranked = sorted(paired, key=lambda one: -(one.gain or 0.0))
    return [found[one.arm, one.budget] for one in ranked]


def _family(arms: Sequence[Comparison]) -> dict[tuple[str, float], Judged]:
    adjusted = holm([_p(one) for one in arms])
    level = 1 - LEVEL / max(1, len(arms))
    return {(one.arm, one.budget): _judged(one, p, level, len(arms)) for one, p in zip(arms, adjusted, strict=True)}


def _judged(one: Comparison, p: float, level: float, family: int) -> Judged:
    seeds, interval = len(one.differences or ()), one.interval_at(level)
    many = "label sets" if one.table is not None else "seeds"
    counted = f", corrected for {family} arms" if family > 1 else ""
    verdict = MeasuredGain(
        gain=one.gain or 0.0,
        interval=None if interval is None else (interval.low, interval.high),
        regime=f"{seeds} {many}{counted}" if seeds > 1 else "one seed",
        p=None if interval is None else p,
        level=100 * level,
    )
    return Judged(arm=one, verdict=verdict, family=family)


def _p(one: Comparison) -> float:
    """Return the two-sided p value of a gain of 0; 1 where there is none."""
    differences = one.differences or ()
    if len(differences) < 2:
        return 1.0
    if one.table is not None:
        return sign_flip_p(differences)
    if max(differences) == min(differences):  # t is not defined: without spread 0 is hit or missed
        return 0.0 if differences[0] else 1.0
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def best(judged: Sequence[Judged], *, generates: bool) -> Judged | None:
    """Return the best arm with or without a generator: of those that helped after correction, else the largest gain."""
    able = [one for one in judged if bool(one.arm.images) == generates]
    return next((one for one in able if one.verdict.word == "helped"), able[0] if able else None)


def lead(compared: Sequence[Comparison], protocol: Protocol | None = None) -> Comparison | None:
    """Return the arm that the headline is about: the best with a generator; a primary one if a protocol names some."""
    found = _leading(compared, protocol)
    return None if found is None else found.arm


def _leading(compared: Sequence[Comparison], protocol: Protocol | None) -> Judged | None:
    judged = judge(compared, protocol)
    primary = [one for one in judged if protocol is not None and role(one.arm, protocol) == "primary"]
    return best(primary, generates=True) or best(judged, generates=True) or best(judged, generates=False)


def headline(compared: Sequence[Comparison], protocol: Protocol | None = None) -> str:
    """Return the result in one sentence: the verdict on the best arm, and the best control without a generator."""
    first = _leading(compared, protocol)
    if first is None:
        return "Cannot tell: no arm has a seed in common with real only"
    said = first.verdict.said(first.name)
    control = best(judge(compared, protocol), generates=False)
    if control is None or control is first:
        return said
    return f"{said}; the best control without a generator, {control.name}: {points(control.arm.gain)}, {control.verdict.word}"


def tone(compared: Sequence[Comparison], protocol: Protocol | None = None) -> str:
    """Return the verdict of the headline as a class of the style sheet."""
    first = _leading(compared, protocol)
    return "cannot-tell" if first is None else first.verdict.word.replace(" ", "-")


def remarks(compared: Sequence[Comparison], rows: Sequence[Row], protocol: Protocol | None = None) -> Iterator[str]:
    """Yield what a fair reader should know next to the headline."""
    if any(len(one.differences or ()) == 1 for one in compared):
        yield ONE_SEED
    yield from _guessing(rows)
    yield from _equal(rows)
    judged = judge(compared, protocol)
    if len(judged) > 1:
        words = [one.verdict.word for one in judged]
        yield (
            f"Of {len(judged)} arms, after correction: {words.count('helped')} helped, {words.count('harmed')} harmed, of "
            f"{words.count('cannot tell')} it cannot be told."
        )
        if protocol is None:
            yield "No protocol declared what is asked: every arm is exploratory, and the best of many looks better than it is."
    base = next((one for one in compared if one.arm == BASE), None)
    if (first := lead(compared, protocol)) is not None and base is not None and first.images:
        usual, spent = base.train_seconds, first.train_seconds + first.generation_seconds
        times = f"{spent / usual:.1f} times as long"
        yield (
            f"A run of {first.arm} generated {whole(round(first.images))} images and took {duration(spent)}, one of "
            f"{arm_name(BASE)} {duration(usual)}: {times}."
        )


def _guessing(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a warning if real only does no better than guessing."""
    for row in rows:
        classes, right = row.get("per_class") or {}, right_of(row)
        if row["arm"] == BASE and at_chance(accuracy(row), len(classes), None if right is None else len(right)):
            yield f"{arm_name(BASE)}, {kind(row)} images: {chance_words(accuracy(row), len(classes))}"
            return


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
