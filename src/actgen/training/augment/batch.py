"""Augmentation of a batch as a pure function of its random stream."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from ...core.options import options
from ..parallel.part import Part, all_of


@options("training.augment")
class Augmentation:
    """What is done to every real and generated image anew each time it is trained on."""

    shift: Annotated[int, Field(ge=0, le=512, description="Largest move in pixels; edges are filled with black.")] = 2
    flip: Annotated[
        bool, Field(description="Mirror half of the images: a mirrored photograph is one, a mirrored digit or letter is none.")
    ] = False
    erase: Annotated[
        float,
        Field(ge=0, le=1, description="Chance that a square of a quarter to half the side is blanked (Zhong et al. 2020)."),
    ] = 0.0
    randaugment: Annotated[int, Field(ge=0, le=10, description="Random operations an image (Cubuk et al. 2020).")] = 0
    magnitude: Annotated[float, Field(ge=0, le=30, description="Strength of these operations.")] = 9.0
    crop: Annotated[
        float,
        Field(
            ge=0.01,
            le=1,
            description="Below 1, for photographs: a random part of at least that share of the area and 3:4 to 4:3 sides "
            "(Szegedy et al. 2015), cut from the original when it is read; `shift` is then best 0.",
        ),
    ] = 1.0

    def __call__(self, images: Tensor, rng: torch.Generator, part: Part | None = None) -> Tensor:
        """[B, 3, S, S] in [0, 1] -> the same shape, on the same device; what is random is generated on the CPU.

        `images` may be a `part` of a batch: they come out as in the whole of it.
        """
        part = all_of(len(images)) if part is None else part
        if self.shift:
            images = _shift(images, self.shift, rng, part)
        if self.flip:
            mirrored = (torch.rand(part.whole, generator=rng)[list(part.rows)] < 0.5).to(images.device)
            images = torch.where(mirrored.view(-1, 1, 1, 1), images.flip(3), images)
        if self.randaugment:
            from .randaugment import rand_augment  # torchvision takes a second to import

            images = rand_augment(images, self.randaugment, self.magnitude, rng, part)
        return _erase(images, self.erase, rng, part) if self.erase else images


def _shift(images: Tensor, most: int, rng: torch.Generator, part: Part) -> Tensor:
    batch, _, height, width = images.shape
    padded = F.pad(images, (most,) * 4)
    top, left = torch.randint(2 * most + 1, (2, part.whole, 1, 1), generator=rng)[:, list(part.rows)]
    rows = (top + torch.arange(height).view(1, -1, 1)).to(images.device)
    columns = (left + torch.arange(width).view(1, 1, -1)).to(images.device)
    picture = torch.arange(batch, device=images.device).view(-1, 1, 1)
    return padded.permute(0, 2, 3, 1)[picture, rows, columns].permute(0, 3, 1, 2)


def _erase(images: Tensor, chance: float, rng: torch.Generator, part: Part) -> Tensor:
    height, width = images.shape[-2:]
    hit, size, y, x = torch.rand((4, part.whole, 1, 1), generator=rng)[:, list(part.rows)]
    side = (0.25 + 0.25 * size) * min(height, width)
    rows, columns = torch.arange(height).view(1, -1, 1), torch.arange(width).view(1, 1, -1)
    inside = ((rows - y * height).abs() < side / 2) & ((columns - x * width).abs() < side / 2) & (hit < chance)
    return images.masked_fill(inside.unsqueeze(1).to(images.device), 0.0)
