"""A probe -> one self-contained page, with the policy of the reports."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from PIL import Image

from ...report.markup import Markup, join, name, tag
from ...report.page import document
from ...report.pictures import uri
from ...report.sections import section, table
from .measures import Measures
from .table import EXPLAINED, cells, heads
from .words import Advice


def render(
    origin: str,
    found: Mapping[str, Measures],
    advice: Advice,
    remarks: Sequence[str],
    sheet: Image.Image,
    recipes: Mapping[str, str],
) -> str:
    """Return the page; `recipes` are those of the candidates as TOML."""
    said = tag("ul", *(tag("li", remark) for remark in (advice.reason, *remarks)), class_="remarks")
    pictures = tag(
        "img", class_="plot", alt="Generated images of every candidate, a row a class", src=uri("image/png", png(sheet))
    )
    note = "A row a class, a column a candidate. Not chosen: the first of each class; equal places have equal seeds."
    return document(
        f"Try {advice.name}",
        tag("header", tag("p", origin, class_="eyebrow"), tag("h1", join("Try ", name(advice.name))), said),
        section("Measured", _table(found, advice), tag("p", EXPLAINED, class_="note")),
        section("Drawings", pictures, tag("p", note, class_="note")),
        _classes(found),
        section("What was run", *(_folded(each, text) for each, text in recipes.items())),
    )


def png(image: Image.Image) -> bytes:
    """Return a picture as a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _table(found: Mapping[str, Measures], advice: Advice) -> Markup:
    titles = heads(found)
    rows = [
        tag("tr", *_cells(titles, cells(each, one, found)), class_="lead" if each == advice.name else "")
        for each, one in found.items()
    ]
    return table(titles, rows, "long")


def _classes(found: Mapping[str, Measures]) -> Markup:
    titles = ("class", *found)
    classes = dict.fromkeys(each for one in found.values() for each in one.by_class)
    rows = [
        tag("tr", *_cells(titles, (each, *(_percent(one.by_class.get(each)) for one in found.values())))) for each in classes
    ]
    folded = tag("details", tag("summary", "Label consistency by class"), table(titles, rows, "long"))
    return section("By class", folded)


def _cells(titles: Sequence[str], values: Sequence[str]) -> list[Markup]:
    head = tag("th", name(values[0]), scope="row")
    return [head, *(tag("td", value, data_label=title) for title, value in zip(titles[1:], values[1:], strict=True))]


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}%"


def _folded(each: str, text: str) -> Markup:
    return tag("details", tag("summary", name(each)), tag("pre", text, dir="ltr"))
