"""Batches of mixed images: mixup (Zhang et al. 2018) and cutmix (Yun et al. 2019), by torchvision's transforms."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from ...core.options import options
from ...core.rng import generator


@options("training.mixing")
class Mixing:
    """Mixed images; with mixup and cutmix both on, each batch takes one of them by an even lot."""

    mixup: Annotated[float, Field(ge=0, le=100, description="Alpha of the Beta distribution of the share; 0: never.")] = 0.0
    cutmix: Annotated[float, Field(ge=0, le=100, description="Alpha of the Beta distribution of the area; 0: never.")] = 0.0
    probability: Annotated[float, Field(ge=0, le=1, description="Chance that a batch is mixed at all.")] = 1.0

    @property
    def acts(self) -> bool:
        """Whether it ever mixes."""
        return self.mixup > 0 or self.cutmix > 0

    def __call__(self, images: Tensor, labels: Tensor, classes: int, seed: int) -> tuple[Tensor, Tensor]:
        """[B, 3, S, S] and labels [B] -> mixed images and probabilities [B, K], or both as given; a function of `seed`."""
        if not self.acts:
            return images, labels
        from torchvision.transforms import v2

        chosen = [mix for mix, alpha in ((v2.MixUp, self.mixup), (v2.CutMix, self.cutmix)) if alpha > 0]
        lot = torch.rand(2, generator=generator(seed, "mixing")).tolist()
        if lot[0] >= self.probability:
            return images, labels
        mix = chosen[int(lot[1] * len(chosen))]
        alpha = self.mixup if mix is v2.MixUp else self.cutmix
        with torch.random.fork_rng(devices=[]):  # torchvision generates from the global stream of the CPU
            torch.manual_seed(seed)
            mixed: tuple[Tensor, Tensor] = mix(alpha=alpha, num_classes=classes)(images, labels)
        return mixed
