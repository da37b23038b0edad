"""Augmentation of a batch as a pure function of its random stream."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """`shift`: largest move in pixels, edges filled with black; `flip`: mirror half of the images; `erase`: chance that a
    square of a quarter to half the side is blanked (Zhong et al. 2020).
    """

    shift: int = 2
    flip: bool = True
    erase: float = 0.0

    def __call__(self, images: Tensor, rng: torch.Generator) -> Tensor:
        """[B, 3, S, S] in [0, 1] -> the same shape."""
        if self.shift:
            images = _shift(images, self.shift, rng)
        if self.flip:
            mirrored = torch.rand(len(images), generator=rng) < 0.5
            images = torch.where(mirrored.view(-1, 1, 1, 1), images.flip(3), images)
        return _erase(images, self.erase, rng) if self.erase else images


def _shift(images: Tensor, most: int, rng: torch.Generator) -> Tensor:
    batch, _, height, width = images.shape
    padded = F.pad(images, (most,) * 4)
    top, left = torch.randint(2 * most + 1, (2, batch, 1, 1), generator=rng)
    rows = top + torch.arange(height).view(1, -1, 1)
    columns = left + torch.arange(width).view(1, 1, -1)
    picture = torch.arange(batch).view(-1, 1, 1)
    return padded.permute(0, 2, 3, 1)[picture, rows, columns].permute(0, 3, 1, 2)


def _erase(images: Tensor, chance: float, rng: torch.Generator) -> Tensor:
    batch, _, height, width = images.shape
    hit, size, y, x = torch.rand((4, batch, 1, 1), generator=rng)
    side = (0.25 + 0.25 * size) * min(height, width)
    rows, columns = torch.arange(height).view(1, -1, 1), torch.arange(width).view(1, 1, -1)
    inside = ((rows - y * height).abs() < side / 2) & ((columns - x * width).abs() < side / 2) & (hit < chance)
    return images.masked_fill(inside.unsqueeze(1), 0.0)
