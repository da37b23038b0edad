"""Trees of small pictures, by their paths."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (9, 8, 7)).save(buffer, "PNG")
    return buffer.getvalue()


PNG = _png()


def picture(path: Path, size: tuple[int, int] = (4, 4)) -> Path:
    """Save a small picture in the format of its suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = path.suffix == ".pgm"
    Image.new("L" if grey else "RGB", size, 90 if grey else (10, 20, 30)).save(path)
    return path


def draw(root: Path, *paths: str) -> None:
    """Save a picture at each of these paths."""
    for path in paths:
        picture(root / path)
