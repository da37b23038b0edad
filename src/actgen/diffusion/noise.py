"""All random numbers of an image, from its own seed alone: the same picture in any batch and on any rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.rng import generator


@dataclass(frozen=True)
class Noises:
    """All random numbers of B images, each [B, C, h, w], float32 on the CPU; `streams` gives those of the steps."""

    vae: Tensor
    sample: Tensor
    guide: Tensor
    streams: tuple[torch.Generator, ...]

    def at(self, index: int) -> Tensor:
        """Return the next step's noise; steps must be asked for in order."""
        shape = self.sample.shape[1:]
        return torch.stack([torch.randn(shape, generator=stream) for stream in self.streams])


def open_noises(seeds: Sequence[int], shape: tuple[int, int, int]) -> Noises:
    """Generate an image's noises from its seed, one image at a time, so that they do not depend on the batch."""
    streams = tuple(generator(seed, "image") for seed in seeds)
    generated = [[torch.randn(shape, generator=stream) for _ in range(3)] for stream in streams]
    vae, sample, guide = (torch.stack(column) for column in zip(*generated, strict=True))
    return Noises(vae, sample, guide, streams)
