"""What a generator is adapted to: labelled images, each with the prompt of its class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..data.datasets.imageset import ImageSet, to_pixels


@dataclass(frozen=True)
class Examples:
    """Labelled images at `size` pixels; `prompts` has one a class, by label."""

    images: ImageSet
    prompts: Sequence[str]
    size: int

    def draw(self, count: int, rng: torch.Generator) -> tuple[Tensor, list[str]]:
        """Return `count` images drawn with replacement, float32 [count, 3, size, size] in [-1, 1], and their prompts."""
        rows = torch.randint(len(self.images.labels), (count,), generator=rng).tolist()
        pixels = to_pixels(self.images, self.size, rows).float() / 127.5 - 1.0
        return pixels, [self.prompts[self.images.labels[row]] for row in rows]
