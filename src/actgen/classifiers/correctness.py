"""Which images were recognised, a bit an image, as a short text: what intervals over images need and an accuracy lacks."""

from __future__ import annotations

import base64
import binascii
import zlib

import numpy as np
import numpy.typing as npt

from ..core.errors import UserError

Right = npt.NDArray[np.bool_]
"""[N], True where the class of image N was recognised."""


def pack_right(right_N: Right) -> str:
    """Return "N:TEXT", TEXT the base64 of the zlib-compressed bits, the first image in the highest bit of the first byte."""
    packed = zlib.compress(np.packbits(right_N).tobytes(), 9)
    return f"{len(right_N)}:{base64.b64encode(packed).decode()}"


def unpack_right(text: str) -> Right:
    """The inverse of `pack_right`; `UserError` for a text that is none."""
    count, _, packed = text.partition(":")
    try:
        bits = np.frombuffer(zlib.decompress(base64.b64decode(packed, validate=True)), dtype=np.uint8)
        if len(bits) == -(-int(count) // 8):
            return np.unpackbits(bits, count=int(count)).astype(np.bool_)
    except (ValueError, binascii.Error, zlib.error):
        pass
    raise UserError(f"{text[:20]!r}... does not say which images were recognised. Restore the line as the bench wrote it.")
