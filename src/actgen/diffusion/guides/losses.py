"""The two losses whose gradient moves the text embedding; pure functions, one value an image (ActGen, gradient guidance)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

REFERENCE_SIZE = 4 * 64 * 64


def contrastive(points_BD: Tensor, labels: Sequence[int], banks: Mapping[int, Tensor], margin: float) -> Tensor:
    """L_contra [B]: mean over the bank [M, D] of the image's label of max(0, margin - ||point - b||_2); 0 without a bank.

    One matrix product a label; the floor under the root keeps the gradient finite where two points meet.
    """
    values = list(points_BD.new_zeros(len(points_BD)).unbind())
    for label in dict.fromkeys(labels):
        bank = banks.get(label)
        if bank is None or len(bank) == 0:
            continue
        rows = [row for row, other in enumerate(labels) if other == label]
        mine = points_BD[rows]
        squared = mine.square().sum(1, keepdim=True) + bank.square().sum(1) - 2.0 * mine @ bank.T
        hinge = (margin - squared.clamp(min=1e-12).sqrt()).clamp(min=0).mean(dim=1)
        for row, value in zip(rows, hinge.unbind(), strict=True):
            values[row] = value
    return torch.stack(values)


def scaled_margin(margin: float, latent_entries: int) -> float:
    """Return a margin given for 4x64x64 latents in the units of latents with `latent_entries` entries.

    The distance of unrelated latents grows with the square root of their number of entries.
    """
    return float(margin * (latent_entries / REFERENCE_SIZE) ** 0.5)


def adversarial(logits_BK: Tensor, labels_B: Tensor) -> Tensor:
    """L_adv [B] = -CE(logits, y): minimising it makes the image harder for the classifier."""
    return -F.cross_entropy(logits_BK, labels_B, reduction="none")
