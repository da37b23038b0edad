"""Soft labels: what a teacher thinks of the real images, mixed into their labels (Hinton et al. 2015, at temperature 1).

The control of everything that asks a judge which images to keep: what the judge knows can be learned without any image.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import AfterValidator, Field
from torch import Tensor
from torch.nn import functional as F

from ..classifiers.zero_shot import ZeroShot
from ..core.options import Text, options
from ..data.datasets.imageset import ImageSet

CLIP = "clip:"
BATCH = 64


def _teacher(name: str) -> str:
    if name and (not name.startswith(CLIP) or name == CLIP):
        raise ValueError(": allowed is nothing, clip:bundled, or clip: and the folder or hub id of a CLIP model.")
    return name


@options("training.distil")
class Distil:
    """Soft labels of real images. Generated images keep their labels."""

    teacher: Annotated[
        Text,
        AfterValidator(_teacher),
        Field(description='"clip:" and the folder or hub id of a CLIP model, or "clip:bundled"; empty: none.'),
    ] = ""
    weight: Annotated[
        float, Field(ge=0, le=1, description="How much of a real image's target is the teacher's; the rest is its label.")
    ] = 0.5

    @property
    def clip(self) -> str:
        """The CLIP model that teaches; empty for none."""
        return self.teacher.removeprefix(CLIP) if self.teacher.startswith(CLIP) else ""


@dataclass(frozen=True)
class Taught:
    """The targets of the real images, [N, K], and the seconds that the teacher took."""

    targets_NK: Tensor
    seconds: float


def teach(teacher: ZeroShot, images: ImageSet, weight: float) -> Taught:
    """Return the targets of real images as they are, without augmentation."""
    began, rows = time.perf_counter(), range(len(images.labels))
    batches = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
    likely_NK = torch.cat([teacher.probabilities([images.image(row) for row in batch]) for batch in batches])
    targets_NK = soft_targets(torch.tensor(list(images.labels)), likely_NK, weight)
    return Taught(targets_NK, time.perf_counter() - began)


def soft_targets(labels_N: Tensor, likely_NK: Tensor, weight: float) -> Tensor:
    """Return (1 - weight) x the labels, one-hot, + weight x the teacher's probabilities, [N, K]."""
    return (1 - weight) * F.one_hot(labels_N, likely_NK.shape[1]).to(likely_NK.dtype) + weight * likely_NK


def batch_targets(taught: Taught | None, labels_B: Tensor, rows: Sequence[int | None], classes: int) -> Tensor:
    """Return the targets of a batch: labels [B] without a teacher, else probabilities [B, K].

    `rows`: which real image each one is, None for a generated one.
    """
    if taught is None:
        return labels_B
    targets_BK = F.one_hot(labels_B, classes).to(taught.targets_NK.dtype)
    for place, row in enumerate(rows):
        if row is not None:
            targets_BK[place] = taught.targets_NK[row]
    return targets_BK
