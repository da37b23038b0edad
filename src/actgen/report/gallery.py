"""Samples -> the gallery: what the classifier got wrong, where the generator looked, what it drew."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from .markup import Markup, name, tag
from .pictures import picture
from .reading import RunView, SampleRow, lead
from .sections import section

MOST_GUIDED = 24
MOST_UNGUIDED = 12
Row = TypeVar("Row")


def gallery(arms: Sequence[RunView]) -> Markup:
    """Return guided samples (guide, attention, result) and, in a strip of their own, those generated from text only."""
    order = sorted(arms, key=lambda arm: arm is not lead(arms))
    generated = [sample for arm in order for sample in arm.samples]
    parts = [*_guided([each for each in generated if each.guided]), *_strip([each for each in generated if not each.guided])]
    return section("Gallery", *(parts or [tag("p", "Nothing was generated.", class_="note")]))


def spread(samples: Sequence[Row], most: int) -> list[Row]:
    """Return at most `most` samples, evenly over the run: the first, the last, and nobody's favourites."""
    if len(samples) <= most:
        return list(samples)
    return [samples[round(place * (len(samples) - 1) / (most - 1))] for place in range(most)]


def _guided(samples: Sequence[SampleRow]) -> list[Markup]:
    if not samples:
        return []
    kept = [each for each in samples if each.guide] or samples
    shown = spread(kept, MOST_GUIDED)
    among = "the run" if len(kept) == len(samples) else f"the {len(kept)} whose guide was kept"
    note = (
        "Left, the real image that served as guide; in the middle, where the generator attended to the class; "
        "right, what it drew. Percentages: the probability that the classifier, as it was then, gave to the class. "
        f"{len(shown)} of {len(samples)} guided images, spread evenly over {among}, not chosen."
    )
    return [tag("p", note, class_="note"), tag("ul", *map(_card, shown), class_="gallery")]


def _strip(samples: Sequence[SampleRow]) -> list[Markup]:
    if not samples:
        return []
    shown = spread(samples, MOST_UNGUIDED)
    note = f"{len(shown)} of {len(samples)} images, spread evenly, with the probability of their class."
    cards = [tag("li", _panel(each, each.image, name(each.class_name), each.probability)) for each in shown]
    return [tag("h3", "Generated from text only"), tag("p", note, class_="note"), tag("ul", *cards, class_="strip")]


def _card(sample: SampleRow) -> Markup:
    panels = (
        _panel(sample, sample.guide, "guide", sample.guide_probability),
        _panel(sample, sample.mask, "attention", None),
        _panel(sample, sample.image, "result", sample.probability),
    )
    when = f"round {sample.round}" if sample.round is not None else ""
    title = tag("p", name(sample.class_name), tag("small", when), class_="title")
    return tag("li", tag("div", *panels, class_="trio"), title)


def _panel(sample: SampleRow, path: Path | None, caption: str, probability: float | None) -> Markup:
    shown = picture(path)
    if shown:
        style = "pixelated" if shown.pixelated else "smooth"
        alt = f"{caption}, {sample.class_name}"
        inner = tag("img", class_=style, alt=alt, src=shown.uri)
    else:
        inner = tag("div", "not kept", class_="missing")
    return tag("figure", inner, tag("figcaption", tag("span", caption), *_probability(probability)))


def _probability(value: float | None) -> list[Markup]:
    """Return the probability as a number and as a bar, nothing if there is none."""
    if value is None:
        return []
    percent = 100 * min(max(value, 0.0), 1.0)
    length = tag("rect", width=f"{percent:.1f}", height="1")
    bar = tag("svg", length, class_="bar", viewBox="0 0 100 1", preserveAspectRatio="none", aria_hidden="true")
    return [tag("b", f"{percent:.0f}%"), bar]
