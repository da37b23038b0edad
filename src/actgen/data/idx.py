"""The IDX format of the MNIST family (LeCun et al. 1998), gzipped or not.

A 28-pixel image is padded with two black pixels on each side to 32, as LeNet did, so that it halves cleanly.
"""

from __future__ import annotations

import gzip
import hashlib
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import UserError
from .imageset import ArrayImages

LAYOUT = (
    "idx:DIR is a folder with train-images-idx3-ubyte, train-labels-idx1-ubyte and the same two beginning with t10k, each "
    "plain or .gz; those of Fashion-MNIST are at https://github.com/zalandoresearch/fashion-mnist."
)
FASHION_MNIST_CLASSES = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip

# sha256 of the decompressed training labels -> class names; the format itself has no place for names.
_KNOWN_LABELS = {
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9": FASHION_MNIST_CLASSES,
}


def _read(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"cannot read {path}: {error}. Give an intact IDX file (.gz or plain).") from error


def parse_idx(data: bytes, name: str) -> npt.NDArray[np.uint8]:
    """Return the uint8 array that an IDX file holds: magic 0x0000 08 ndim, ndim big-endian sizes, then the bytes."""
    if len(data) < 4 or data[:3] != b"\x00\x00\x08":
        raise UserError(f"{name} is not an IDX file of bytes (its first four bytes are {data[:4].hex()}, not 000008..).")
    dims = data[3]
    start = 4 + 4 * dims
    shape = struct.unpack(f">{dims}I", data[4:start]) if len(data) >= start else ()
    if not shape or len(data) - start != int(np.prod(shape, dtype=np.int64)):
        raise UserError(f"{name} is truncated or too long for its shape {shape}: download it again.")
    return np.frombuffer(data, dtype=np.uint8, offset=start).reshape(shape)


def encode_idx(array: npt.NDArray[np.uint8]) -> bytes:
    """Return `array` as the bytes of an IDX file; the inverse of `parse_idx`."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def _find(folder: Path, stem: str) -> Path:
    for suffix in ("", ".gz"):
        if (path := folder / (stem + suffix)).is_file():
            return path
    raise UserError(f"{folder} has no {stem} or {stem}.gz.\n{LAYOUT}")


def _class_names(folder: Path, count: int) -> tuple[str, ...]:
    if (path := folder / "class_names.txt").is_file():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"{path} is not UTF-8 text ({error.reason}). Save it as UTF-8, one class name a line.") from error
        names = tuple(line.strip() for line in text.splitlines() if line.strip())
        if len(names) < count:
            raise UserError(f"{path} names {len(names)} classes, but the labels go up to {count - 1}: one name a line.")
        return names
    digest = hashlib.sha256(_read(_find(folder, "train-labels-idx1-ubyte"))).hexdigest()
    return _KNOWN_LABELS.get(digest) or tuple(str(i) for i in range(count))


def read_idx_split(folder: Path, split: str) -> ArrayImages:
    """Return the images of `split` ("train" or "test") of an IDX folder; names come from class_names.txt if it is there."""
    stem = {"train": "train", "test": "t10k"}[split]
    pixels = parse_idx(_read(path := _find(folder, f"{stem}-images-idx3-ubyte")), str(path))
    labels = parse_idx(_read(path := _find(folder, f"{stem}-labels-idx1-ubyte")), str(path))
    if pixels.ndim != 3 or labels.shape != pixels.shape[:1] or not labels.size:
        raise UserError(f"{folder}: {split} has images of shape {pixels.shape} and labels of shape {labels.shape}; "
                        "they must be (N, H, W) and (N,), with N above 0.")  # fmt: skip
    if pixels.shape[1:] == (28, 28):
        pixels = np.pad(pixels, ((0, 0), (2, 2), (2, 2)))
    names = _class_names(folder, int(labels.max()) + 1)
    keys = tuple(f"{split}/{i}" for i in range(len(labels)))
    return ArrayImages(pixels, tuple(labels.tolist()), names, keys)
