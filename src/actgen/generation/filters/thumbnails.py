"""How near two pictures are: the distance of their outlines at 16 x 16 pixels, one matrix product for many.

A picture is described by the differences of neighbouring pixels of its thumbnail, luminance at 16 x 16 and colour at 8 x 8,
as a vector of length 1. Brightness and contrast drop out; what remains tells trousers from trousers, which the pixels
themselves do less well (all are bright on black), and changes little under compression and resizing
(benchmarks/leakage.py). The distance of two pictures is that of their vectors: 0 the same, about 1.4 nothing in common.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ...data.datasets.imageset import ImageSet, fit_square

SIDE = 16
WIDTH = 647  # numbers that describe a picture: 2 x 15 x 15, 2 colours x 2 x 7 x 7, and the floor
LOOKS = ("", "mirrored", "within a border", "within a border, mirrored")
_COLOUR = 0.5  # weight of colour, which compression keeps less well
_FLOOR = 100.0  # what all pictures have in common: those with differences of a few grey levels at most are alike
_LARGE = 4 * SIDE
_TOGETHER = 256


@dataclass(frozen=True)
class Near:
    """The nearest picture of an album, and how it had to be looked at (one of `LOOKS`)."""

    key: str
    distance: float
    look: str


class Album:
    """Described pictures that can be searched; takes 2.6 kB a picture."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self._vectors = torch.empty(0, WIDTH)

    @classmethod
    def of(cls, images: ImageSet) -> Album:
        """Return the album of all `images`."""
        album, total = cls(), len(images.labels)
        album._reserve(total)
        for start in range(0, total, _TOGETHER):
            rows = range(start, min(start + _TOGETHER, total))
            album.add([images.keys[i] for i in rows], describe(thumbnails([images.image(i) for i in rows])))
        return album

    def __len__(self) -> int:
        return len(self.keys)

    def add(self, keys: Sequence[str], vectors_ND: Tensor) -> None:
        """Put described pictures in."""
        count = len(self.keys) + len(keys)
        if count > len(self._vectors):
            self._reserve(max(64, 2 * count))
        self._vectors[len(self.keys) : count] = vectors_ND
        self.keys.extend(keys)

    def nearest(self, looks_BLD: Tensor) -> list[Near]:
        """Return the nearest picture to each of B, over L looks at it; the album must not be empty."""
        alike_BLN = looks_BLD @ self._vectors[: len(self.keys)].T
        best, found = alike_BLN.max(dim=2)
        looks = best.argmax(dim=1).tolist()
        return [self._near(looks_BLD[row, look], int(found[row, look]), look) for row, look in enumerate(looks)]

    def _near(self, vector: Tensor, index: int, look: int) -> Near:
        apart = torch.linalg.vector_norm(vector.double() - self._vectors[index].double())  # the product rounds to 5e-4
        return Near(self.keys[index], round(float(apart), 6), LOOKS[look])

    def _reserve(self, count: int) -> None:
        grown = torch.empty(count, WIDTH)
        grown[: len(self.keys)] = self._vectors[: len(self.keys)]
        self._vectors = grown


def thumbnails(images: Sequence[Image.Image]) -> Tensor:
    """Return [B, 3, 16, 16]: the centre squares of pictures, luminance and the two colours in grey levels.

    They are not rounded: rounding alone would tell one clear sky from another.
    """
    bands = [band.convert("F") for image in images for band in _reduced(image).convert("YCbCr").split()]
    return torch.from_numpy(np.stack([np.asarray(fit_square(band, SIDE)) for band in bands])).view(-1, 3, SIDE, SIDE)


def describe(thumbnails_B3SS: Tensor) -> Tensor:
    """Return the vectors [B, D] of length 1 that describe thumbnails."""
    light, colour = thumbnails_B3SS[:, :1], F.avg_pool2d(thumbnails_B3SS[:, 1:], 2)
    floor = torch.full((len(thumbnails_B3SS), 1), _FLOOR)
    return F.normalize(torch.cat([*_differences(light), *_differences(_COLOUR * colour), floor], dim=1))


def look_at(images: Sequence[Image.Image]) -> Tensor:
    """Return [B, L, D]: the descriptions of pictures as they are and in the other looks in which a copy may hide."""
    plain, framed = thumbnails(images), thumbnails([_framed(image) for image in images])
    return torch.stack([describe(view) for view in (plain, plain.flip(3), framed, framed.flip(3))], dim=1)


def _reduced(image: Image.Image) -> Image.Image:
    """Return a large picture at a size that is quick to work with."""
    image = image.convert("RGB")
    return image if min(image.size) <= _LARGE else fit_square(image, _LARGE)


def _framed(image: Image.Image) -> Image.Image:
    """Return the picture as MNIST's reader does it: 28 pixels within a black border of 2."""
    frame = Image.new("RGB", (32, 32))
    frame.paste(fit_square(image.convert("RGB"), 28), (2, 2))
    return frame


def _differences(images_BCSS: Tensor) -> Iterator[Tensor]:
    yield images_BCSS[:, :, :-1].diff(dim=3).flatten(1)
    yield images_BCSS[:, :, :, :-1].diff(dim=2).flatten(1)
