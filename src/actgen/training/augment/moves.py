"""Moves and mirrors of a batch, all at once: small images in memory would wait for transforms one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ...core.rng import generator


@dataclass(frozen=True)
class Moves:
    """What an epoch draws for each of its places: moves [2, N] in pixels, at most `most`, and mirrors [N]."""

    most: int
    moves_2N: Tensor
    mirrored_N: Tensor

    @classmethod
    def of_epoch(cls, most: int, flip: bool, places: int, seed: int, epoch: int) -> Moves:
        """Return the moves of an epoch of so many `places`: a function of seed, epoch and place."""
        rng = generator(seed, "moves", epoch)
        moves = torch.randint(2 * most + 1, (places, 2), generator=rng).T
        return cls(most, moves, (torch.rand(places, generator=rng) < 0.5) & flip)

    def __call__(self, images: Tensor, places: Sequence[int]) -> Tensor:
        """[B, 3, S, S] in [0, 1] -> the same shape, on the same device; `places` [B] are those of the images in the epoch."""
        chosen = list(places)
        if self.most:
            images = _shift(images, self.most, *self.moves_2N[:, chosen])
        mirrored_B = self.mirrored_N[chosen].to(images.device)
        return torch.where(mirrored_B.view(-1, 1, 1, 1), images.flip(3), images)


def _shift(images: Tensor, most: int, top_B: Tensor, left_B: Tensor) -> Tensor:
    batch, _, height, width = images.shape
    padded = F.pad(images, (most,) * 4)
    rows = (top_B.view(-1, 1, 1) + torch.arange(height).view(1, -1, 1)).to(images.device)
    columns = (left_B.view(-1, 1, 1) + torch.arange(width).view(1, 1, -1)).to(images.device)
    picture = torch.arange(batch, device=images.device).view(-1, 1, 1)
    return padded.permute(0, 2, 3, 1)[picture, rows, columns].permute(0, 3, 1, 2)
