"""An image file -> RGB pixels, or the reason why not: the one door through which pictures of others are decoded."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from threading import Lock
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from ...core.errors import UserError
from ...core.text import visible
from .names import printable

_NEVER = frozenset(("EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG"))  # run other programs, or know the header only
_MARKED = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "AVIF", "JPEG2000", "QOI", "PSD")  # begin with bytes of their own
_TEXTS = frozenset((".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".md", ".py", ".yaml", ".yml", ".toml", ".html", ".zip"))
USUAL_BITS = 16
_Read = TypeVar("_Read")
_opening = Lock()


@cache
def formats() -> tuple[str, ...]:
    """Return what Pillow may try, whatever the suffix says: a file never reaches a decoder that runs other programs (EPS)."""
    Image.init()
    return tuple(sorted(set(Image.OPEN) - _NEVER))


@cache
def suffixes() -> frozenset[str]:
    """Return the endings of the files that `formats` can open, in lower case."""
    return frozenset(suffix for suffix, form in Image.registered_extensions().items() if form in (*formats(), "MPO"))


def is_picture(path: Path) -> bool:
    """Whether a file is taken for a picture: by its ending, or, where that says nothing, by its first bytes."""
    if path.suffix.lower() in suffixes():
        return True
    if path.suffix.lower() in _TEXTS:
        return False
    try:
        with Image.open(path, formats=_MARKED):
            return True
    except Exception:  # what Pillow raises on files that are no pictures has no end
        return False


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How the pictures of a data set are opened: at most so many pixels (0: Pillow's own limit), and the bits of deep grey.

    `highest`: the largest value of the deep grey that was seen; 0 if there is none.
    """

    pixels: int = 0
    bits: int = USUAL_BITS
    highest: int = 0


USUAL = Limits()


def read_image(path: Path, limits: Limits = USUAL) -> Image.Image:
    """Return an image file in RGB, upright.

    EXIF orientation is applied and of several frames the first is taken; colour profiles are ignored. Raises UserError
    for a file that is empty, not an image, broken, larger than the limit against decompression bombs, or of
    floating-point pixels.
    """
    return guarded(partial(decode, limits=limits), path)


def decode(path: Path, limits: Limits = USUAL) -> Image.Image:
    """Return an image file in RGB, upright; what is wrong with it is raised as Pillow raises it."""
    with _open(path, limits.pixels) as image:
        image.load()
        return to_rgb(ImageOps.exif_transpose(image), limits.bits)


def measure(path: Path, limits: Limits = USUAL) -> int:
    """Decode an image file whole; return the largest value of its pixels if it is grey of more than 8 bits, else 0."""
    with _open(path, limits.pixels) as image:
        image.load()
        to_rgb(ImageOps.exif_transpose(image))
        return int(np.asarray(image).max()) if image.mode.startswith("I") else 0


def bits_of(highest: int) -> int:
    """Return how many bits a camera or a scanner gave values of at most `highest`: 8, 10, 12, 14 or 16; 16 for 0."""
    return next((bits for bits in (8, 10, 12, 14) if 0 < highest < 2**bits), USUAL_BITS)


def read_mask(path: Path) -> npt.NDArray[np.bool_]:
    """Return [H, W] of a mask file, true where it is not 0 (black, or the first colour of a palette); raises as Pillow does."""
    with _open(path) as image:
        image.load()
        if "A" in image.getbands():
            raise ValueError("it has transparency, which a mask cannot have; save it in grey")
        values = np.asarray(image)
        mask: npt.NDArray[np.bool_] = values != 0 if values.ndim == 2 else (values != 0).any(axis=2)
        return mask


def verify(path: Path, limits: Limits = USUAL) -> int:
    """Check an image file without decoding it: its header, and the checksums of PNG; return 0."""
    with _open(path, limits.pixels) as image:
        image.verify()
    return 0


def _open(path: Path, most: int = 0) -> Image.Image:
    """Open an image lazily; Pillow itself refuses only above twice its limit, and warns below."""
    if not path.is_file():
        raise ValueError("it is not a file, or a link to nothing")
    if path.stat().st_size == 0:
        raise ValueError("it is empty (0 bytes)")
    limit = most or Image.MAX_IMAGE_PIXELS
    image = _header(path) if most else Image.open(path, formats=formats())
    if limit is not None and image.width * image.height > limit:
        image.close()
        raise ValueError(
            f"it has {image.width * image.height} pixels, more than {limit} pixels; --set reading.max_megapixels=N allows more"
        )
    return image


def _header(path: Path) -> Image.Image:
    """Open an image without Pillow's limit, which holds for the whole process; the caller has one of its own."""
    with _opening:
        usual, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(path, formats=formats())
        finally:
            Image.MAX_IMAGE_PIXELS = usual


@contextmanager
def silenced() -> Iterator[None]:
    """Keep C libraries from writing to stderr what is wrong with a file (libtiff does); we say it ourselves."""
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def guarded(read: Callable[[Path], _Read], path: Path) -> _Read:
    """Return `read(path)`; whatever it raises becomes a UserError that names the file and the reason."""
    try:
        return read(path)
    except Exception as error:  # Pillow's decoders raise many types on broken files: OSError, SyntaxError, struct.error
        raise UserError(f"cannot read the image {printable(path)}: {visible(_reason(error))}. Repair or remove it.") from error


def _reason(error: Exception) -> str:
    match error:
        case Image.DecompressionBombError() | Image.DecompressionBombWarning():
            return f"it has more than {Image.MAX_IMAGE_PIXELS} pixels; --set reading.max_megapixels=N allows more"
        case UnidentifiedImageError():
            return "it is not a PNG, JPEG, WebP or another image that Pillow opens, or its header is broken"
        case OSError() if error.strerror:
            return error.strerror
    return str(error).rstrip(".") or type(error).__name__


def to_rgb(image: Image.Image, bits: int = USUAL_BITS) -> Image.Image:
    """Return `image` in RGB: grey is repeated, deep grey of `bits` scaled to 8, transparency laid on black.

    Black, because the other sources pad with black and it is what zero means. Raises ValueError for pixels whose range
    is unknown: floating point, or integers outside [0, 65535].
    """
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers; save it with 8 or 16 bits per channel")
    if image.mode.startswith("I"):
        return _from_deep(image, bits)
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba).convert("RGB")


def _from_deep(image: Image.Image, bits: int) -> Image.Image:
    pixels = np.asarray(image)
    if pixels.min() < 0 or pixels.max() > 65535:
        raise ValueError("its pixels are integers outside 0..65535; save it with 8 or 16 bits per channel")
    return Image.fromarray((pixels // 2 ** (bits - 8)).clip(0, 255).astype(np.uint8)).convert("RGB")
