"""A sheet to look at: a row a class, a column a candidate, first real images; not chosen, and equal seeds in equal places."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from ...core.text import shortened, visible
from ...data.datasets.imageset import ImageSet, fit_square

EACH, MOST_CLASSES = 4, 20
SIDE, GAP = 64, 24
_PAPER, _INK = (255, 255, 255), (29, 30, 32)


def draw_sheet(columns: Mapping[str, ImageSet]) -> Image.Image:
    """Return the sheet of image sets by name, all of the same classes; of more than `MOST_CLASSES` some, spread evenly."""
    names = next(iter(columns.values())).class_names
    count = min(len(names), MOST_CLASSES)
    shown = [round(place * (len(names) - 1) / max(count - 1, 1)) for place in range(count)]
    font = _font()
    margin = GAP + max(int(font.getlength(_short(names[label]))) for label in shown)
    sheet = Image.new("RGB", (margin + len(columns) * (EACH * SIDE + GAP), 2 * GAP + len(shown) * SIDE), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for row, label in enumerate(shown):
        pen.text((GAP // 2, 2 * GAP + row * SIDE + SIDE // 2), _short(names[label]), fill=_INK, font=font, anchor="lm")
    for column, (name, images) in enumerate(columns.items()):
        left = margin + column * (EACH * SIDE + GAP)
        pen.text((left, GAP), _fitting(name, font), fill=_INK, font=font, anchor="lm")
        for row, label in enumerate(shown):
            for place, index in enumerate(_first(images, label)):
                sheet.paste(_tile(images.image(index)), (left + place * SIDE, 2 * GAP + row * SIDE))
    return sheet


def _first(images: ImageSet, label: int) -> list[int]:
    """Return the first images of a class by key, so that equal seeds stand in equal places."""
    members = [index for index, other in enumerate(images.labels) if other == label]
    return sorted(members, key=lambda index: images.keys[index])[:EACH]


def _tile(image: Image.Image) -> Image.Image:
    square = fit_square(image, min(SIDE, *image.size))
    return square.resize((SIDE, SIDE), Image.Resampling.NEAREST)


def _font() -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), 13)


def _short(name: str) -> str:
    return shortened(visible(name), 24)


def _fitting(name: str, font: ImageFont.FreeTypeFont) -> str:
    text = visible(name)
    while font.getlength(text) > EACH * SIDE:
        text = f"{text.rstrip('…')[:-1]}…"
    return text
