"""The IDX format of the MNIST family (LeCun et al. 1998), gzipped or not.

A 28-pixel image is padded with two black pixels on each side to 32, as LeNet did, so that it halves cleanly.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...core.errors import UserError
from ...core.text import brief, read_text, visible
from .imageset import ArrayImages
from .names import printable

LARGEST = 2**31
"""Bytes of a file, decompressed; the largest of the MNIST family (EMNIST) has 0.6 GB."""
_MAGIC = b"\x00\x00\x08"
_HEADER = 4 + 4 * 255

LAYOUT = (
    "idx:DIR is a folder with train-images-idx3-ubyte, train-labels-idx1-ubyte and the same two beginning with t10k, each "
    "plain or .gz; those of Fashion-MNIST are at https://github.com/zalandoresearch/fashion-mnist."
)
FASHION_MNIST_CLASSES = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)

# sha256 of the decompressed training labels -> class names; the format itself has no place for names.
_KNOWN_LABELS = {
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9": FASHION_MNIST_CLASSES,
}


def _read(path: Path) -> bytes:
    """Return the decompressed bytes of an IDX file, and of a longer one no more than shows that it is too long."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            head = file.read(_HEADER)
            wanted = _length(head)
            if wanted > LARGEST:
                raise UserError(
                    f"{printable(path)} says that it holds {wanted / 2**30:.1f} GiB; at most {LARGEST / 2**30:g} "
                    "are read. Give an intact IDX file."
                )
            return head + file.read(max(0, wanted + 1 - len(head)))
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(
            f"cannot read {printable(path)}: {visible(str(error))}. Give an intact IDX file (.gz or plain)."
        ) from error


def _length(head: bytes) -> int:
    """Return how many bytes an IDX file has whose first bytes are `head`; 0 if they are not those of an IDX file."""
    start = 4 + 4 * head[3] if head[:3] == _MAGIC and len(head) > 3 else 0
    return start + math.prod(struct.unpack(f">{head[3]}I", head[4:start])) if 0 < start <= len(head) else 0


def parse_idx(data: bytes, name: str) -> npt.NDArray[np.uint8]:
    """Return the uint8 array that an IDX file holds: magic 0x0000 08 ndim, ndim big-endian sizes, then the bytes."""
    if len(data) < 4 or data[:3] != _MAGIC:
        raise UserError(
            f"{visible(name)} is not an IDX file of bytes (its first four bytes are {data[:4].hex()}, not 000008..)."
        )
    dims = data[3]
    start = 4 + 4 * dims
    shape = struct.unpack(f">{dims}I", data[4:start]) if len(data) >= start else ()
    if not shape or len(data) - start != math.prod(shape):
        raise UserError(f"{visible(name)} is truncated or too long for its shape {brief(shape)}: download it again.")
    return np.frombuffer(data, dtype=np.uint8, offset=start).reshape(shape)


def encode_idx(array: npt.NDArray[np.uint8]) -> bytes:
    """Return `array` as the bytes of an IDX file; the inverse of `parse_idx`."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def _find(folder: Path, stem: str) -> Path:
    for suffix in ("", ".gz"):
        if (path := folder / (stem + suffix)).is_file():
            return path
    raise UserError(f"{printable(folder)} has no {stem} or {stem}.gz.\n{LAYOUT}")


def _class_names(folder: Path, count: int) -> tuple[str, ...]:
    if (path := folder / "class_names.txt").is_file():
        names = _listed_names(path)
        if len(names) < count:
            raise UserError(
                f"{printable(path)} names {len(names)} classes, but the labels go up to {count - 1}: one name a line."
            )
        return names
    digest = hashlib.sha256(_read(_find(folder, "train-labels-idx1-ubyte"))).hexdigest()
    return _KNOWN_LABELS.get(digest) or tuple(str(i) for i in range(count))


def _listed_names(path: Path) -> tuple[str, ...]:
    """Return the lines of a file that are not blank."""
    try:
        text = read_text(path)
    except ValueError as error:
        raise UserError(f"{printable(path)} {error}. Save it as UTF-8, one class name a line.") from error
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def read_idx_split(folder: Path, split: str) -> ArrayImages:
    """Return the images of `split` ("train" or "test") of an IDX folder; names come from class_names.txt if it is there."""
    stem = {"train": "train", "test": "t10k"}[split]
    pixels = parse_idx(_read(path := _find(folder, f"{stem}-images-idx3-ubyte")), str(path))
    labels = parse_idx(_read(path := _find(folder, f"{stem}-labels-idx1-ubyte")), str(path))
    if pixels.ndim != 3 or labels.shape != pixels.shape[:1] or not pixels.size:
        raise UserError(
            f"{printable(folder)}: {split} has images of shape {brief(pixels.shape)} and labels of shape "
            f"{brief(labels.shape)}; they must be (N, H, W) and (N,), with N above 0."
        )
    if pixels.shape[1:] == (28, 28):
        pixels = np.pad(pixels, ((0, 0), (2, 2), (2, 2)))
    names = _class_names(folder, int(labels.max()) + 1)
    keys = tuple(f"{split}/{i}" for i in range(len(labels)))
    return ArrayImages(pixels, tuple(labels.tolist()), names, keys)
