"""The two losses whose gradient bends the text; pure functions, one value an image (ActGen, section on gradient guidance)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

REFERENCE_SIZE = 4 * 64 * 64


def contrastive(x0_BCHW: Tensor, banks: Sequence[Tensor], margin: float) -> Tensor:
    """L_contra [B]: mean over the image's bank [M, C, H, W] of max(0, margin - ||x0 - b||_2); 0 for an empty bank."""
    return torch.stack([_hinge(x0, bank, margin) for x0, bank in zip(x0_BCHW, banks, strict=True)])


def _hinge(x0: Tensor, bank: Tensor, margin: float) -> Tensor:
    if len(bank) == 0:
        return x0.new_zeros(())
    distance = ((x0 - bank.to(x0)).flatten(1).square().sum(dim=1) + 1e-12).sqrt()  # no NaN gradient where they meet
    return (margin - distance).clamp(min=0).mean()


def scaled_margin(margin: float, latent_entries: int) -> float:
    """Return a margin given for 4x64x64 latents in the units of latents with `latent_entries` entries.

    The distance of unrelated latents grows with the square root of their number of entries.
    """
    return float(margin * (latent_entries / REFERENCE_SIZE) ** 0.5)


def adversarial(logits_BK: Tensor, labels_B: Tensor) -> Tensor:
    """L_adv [B] = -CE(logits, y): minimising it makes the image harder for the classifier."""
    return -F.cross_entropy(logits_BK, labels_B, reduction="none")
