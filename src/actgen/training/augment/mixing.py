"""Batches of mixed images: mixup (Zhang et al. 2018) and cutmix (Yun et al. 2019), by timm."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from ...core.options import options
from ...core.rng import streams


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

    def __call__(self, images: Tensor, targets: Tensor, classes: int, seed: int) -> tuple[Tensor, Tensor]:
        """[B, 3, S, S] and labels [B] or probabilities [B, K] -> mixed images and probabilities [B, K], or both as given.

        B is even: the first image is mixed with the last, and so on. A function of `seed`.
        """
        if not self.acts:
            return images, targets
        from timm.data import Mixup

        mix = Mixup(self.mixup, self.cutmix, prob=self.probability, label_smoothing=0.0, num_classes=len(images))
        with streams() as start:
            start(seed)
            mixed, shares_BB = mix(images.clone(), torch.arange(len(images), device=images.device))
        soft_BK = targets if targets.is_floating_point() else F.one_hot(targets, classes).to(images.dtype)
        return mixed, shares_BB.to(soft_BK.dtype) @ soft_BK
