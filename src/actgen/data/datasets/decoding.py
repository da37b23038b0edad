"""An image file -> RGB pixels, or the reason why not: the one door through which pictures of others are decoded."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from ...core.errors import UserError
from ...core.text import visible
from .names import printable

# What Pillow may try, whatever the suffix says: a file never reaches a decoder that runs other programs (EPS).
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
_Read = TypeVar("_Read")


def read_image(path: Path) -> Image.Image:
    """Return an image file in RGB, upright.

    EXIF orientation is applied and of several frames the first is taken; colour profiles are ignored. Raises UserError
    for a file that is empty, not an image, broken, larger than Pillow's limit against decompression bombs, or of
    floating-point pixels.
    """
    return guarded(decode, path)


def decode(path: Path) -> Image.Image:
    """Return an image file in RGB, upright; what is wrong with it is raised as Pillow raises it."""
    with _open(path) as image:
        image.load()
        return to_rgb(ImageOps.exif_transpose(image))


def read_mask(path: Path) -> npt.NDArray[np.bool_]:
    """Return [H, W] of a mask file, true where it is not 0 (black, or the first colour of a palette); raises as Pillow does."""
    with _open(path) as image:
        image.load()
        if "A" in image.getbands():
            raise ValueError("it has transparency, which a mask cannot have; save it in grey")
        values = np.asarray(image)
        mask: npt.NDArray[np.bool_] = values != 0 if values.ndim == 2 else (values != 0).any(axis=2)
        return mask


def verify(path: Path) -> None:
    """Check an image file without decoding it: its header, and the checksums of PNG."""
    with _open(path) as image:
        image.verify()


def _open(path: Path) -> Image.Image:
    """Open an image lazily; Pillow itself refuses only above twice its limit, and warns below."""
    if not path.is_file():
        raise ValueError("it is not a file, or a link to nothing")
    if path.stat().st_size == 0:
        raise ValueError("it is empty (0 bytes)")
    image = Image.open(path, formats=FORMATS)
    if Image.MAX_IMAGE_PIXELS is not None and image.width * image.height > Image.MAX_IMAGE_PIXELS:
        image.close()
        raise Image.DecompressionBombError
    return image


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
            return f"it has more than {Image.MAX_IMAGE_PIXELS} pixels"
        case UnidentifiedImageError():
            return "it is not a PNG, JPEG, WebP, BMP, GIF or TIFF image, or its header is broken"
        case OSError() if error.strerror:
            return error.strerror
    return str(error).rstrip(".") or type(error).__name__


def to_rgb(image: Image.Image) -> Image.Image:
    """Return `image` in RGB: grey is repeated, 16-bit grey divided by 256, transparency laid on black.

    Black, because the other sources pad with black and it is what zero means. Raises ValueError for pixels whose range
    is unknown: floating point, or integers outside [0, 65535].
    """
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers; save it with 8 or 16 bits per channel")
    if image.mode.startswith("I"):
        return _from_16_bits(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba).convert("RGB")


def _from_16_bits(image: Image.Image) -> Image.Image:
    pixels = np.asarray(image)
    if pixels.min() < 0 or pixels.max() > 65535:
        raise ValueError("its pixels are integers outside 0..65535; save it with 8 or 16 bits per channel")
    return Image.fromarray((pixels // 256).astype(np.uint8)).convert("RGB")
