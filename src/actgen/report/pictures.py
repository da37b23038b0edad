"""Picture files -> data: URIs, re-encoded (so that nothing but pixels gets into the page) and no larger than shown."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..core.errors import UserError
from ..data.datasets.decoding import read_image

LONGEST = 256
SMALL = 96
"""Pictures up to this many pixels are blown up pixel by pixel; larger ones smoothly."""


@dataclass(frozen=True)
class Picture:
    """A picture inside the page."""

    uri: str
    pixelated: bool


def picture(path: Path | None) -> Picture | None:
    """Return the picture at `path`, or None if there is none that can be read."""
    if path is None:
        return None
    try:
        pixels = read_image(path)
    except UserError:
        return None
    pixelated = max(pixels.size) <= SMALL
    pixels.thumbnail((LONGEST, LONGEST))
    return Picture(uri("image/png", _png(pixels)) if pixelated else uri("image/jpeg", _jpeg(pixels)), pixelated)


def uri(media_type: str, data: bytes) -> str:
    """Return `data` as a data: URI."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"


def _png(pixels: Image.Image) -> bytes:
    buffer = io.BytesIO()
    pixels.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _jpeg(pixels: Image.Image) -> bytes:
    buffer = io.BytesIO()
    pixels.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()
