"""Random parts of photographs, cut from the original (Szegedy et al. 2015): each a function of seed, epoch and place."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from PIL import Image

from ..core.rng import generator

Box = tuple[float, float, float, float]
_SIDES = (3 / 4, 4 / 3)  # width to height
_TRIES = 10


@dataclass(frozen=True, kw_only=True)
class Crop:
    """The parts that are cut in one epoch: each of at least the share `smallest` of its image's area."""

    smallest: float
    seed: int
    epoch: int

    def __call__(self, image: Image.Image, size: int, index: int) -> Image.Image:
        """Return the part of image number `index` of the epoch at `size` x `size` pixels (antialiased bilinear)."""
        box = random_box(*image.size, self.smallest, generator(self.seed, "crop", self.epoch, index))
        return image.resize((size, size), Image.Resampling.BILINEAR, box=box)


def random_box(width: int, height: int, smallest: float, rng: torch.Generator) -> Box:
    """Return (left, top, right, bottom) of a part with an area of `smallest` to 1 and sides of 3:4 to 4:3, both generated
    evenly (the sides in their logarithm); the centre square if none of ten fits into the image.
    """
    low, high = (math.log(sides) for sides in _SIDES)
    for area, sides, across, down in torch.rand((_TRIES, 4), generator=rng, dtype=torch.float64).tolist():
        part = width * height * (smallest + (1 - smallest) * area)
        ratio = math.exp(low + (high - low) * sides)
        wide, tall = math.sqrt(part * ratio), math.sqrt(part / ratio)
        if wide <= width and tall <= height:
            left, top = across * (width - wide), down * (height - tall)
            return left, top, left + wide, top + tall
    short = min(width, height)
    left, top = (width - short) / 2, (height - short) / 2
    return left, top, left + short, top + short
