"""Samples -> the gallery: what the classifier got wrong, where the generator looked, what it drew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from .markup import Markup, name, tag
from .pictures import picture
from .reading import RunView, lead
from .samples import SampleRow
from .sections import section
from .words import arm_name

MOST_GUIDED = 24
MOST_UNGUIDED = 12
Row = TypeVar("Row")


def gallery(arms: Sequence[RunView], explorers: Mapping[str, str]) -> Markup:
    """Return guided samples (guide, attention, result) and, in a strip of their own, those generated from text only.

    `explorers`: links to the pages of all images, by arm.
    """
    order = sorted(arms, key=lambda arm: arm is not lead(arms))
    parts = [part for arm in order for part in (*_guided(arm), *_strip(arm))]
    links = [tag("a", f"all images of {arm_name(arm)}, least certain first", href=href) for arm, href in explorers.items()]
    if links:
        parts.insert(0, tag("nav", *links, aria_label="all images"))
    return section("Gallery", *(parts or [tag("p", "Nothing was generated.", class_="note")]))


def spread(samples: Sequence[Row], most: int) -> list[Row]:
    """Return at most `most` samples, evenly over the run: the first, the last, and nobody's favourites."""
    if len(samples) <= most:
        return list(samples)
    return [samples[round(place * (len(samples) - 1) / (most - 1))] for place in range(most)]


def _guided(arm: RunView) -> list[Markup]:
    guided = [place for place, flag in enumerate(arm.samples.guided_N) if flag]
    if not guided:
        return []
    kept = [place for place in guided if arm.samples.kept_N[place]] or guided
    shown = spread(kept, MOST_GUIDED)
    among = "the run" if len(kept) == len(guided) else f"the {len(kept)} whose guide was kept"
    note = (
        "Left, the real image that served as guide; in the middle, where the generator attended to the class; "
        "right, what it drew. Percentages: the probability that the classifier, as it was then, gave to the class. "
        f"{len(shown)} of {len(guided)} guided images of {arm_name(arm.name)}, spread evenly over {among}, not chosen."
    )
    cards = map(_card, arm.samples.read(shown))
    return [tag("p", note, class_="note"), tag("ul", *cards, class_="gallery")]


def _strip(arm: RunView) -> list[Markup]:
    plain = [place for place, flag in enumerate(arm.samples.guided_N) if not flag]
    if not plain:
        return []
    shown = spread(plain, MOST_UNGUIDED)
    note = f"{len(shown)} of {len(plain)} images of {arm_name(arm.name)}, spread evenly, with the probability of their class."
    cards = [tag("li", _panel(each, each.image, name(each.class_name), each.probability)) for each in arm.samples.read(shown)]
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
