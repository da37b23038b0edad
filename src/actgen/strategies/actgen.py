"""`actgen`: variants of what the classifier gets wrong (Active Generation for Image Classification, ECCV 2024).

The curriculum is that of the released code (METHOD: section 2.2 of its description): with e of E the epoch,
r = 0.5 max(1 - e/(0.5 E - 1), 0) is the share of plain text-to-image drawings, and the adversarial loss is on with probability
max(0, 0.5 - r) of the rest; both are decided per image. The paper names no curriculum: without one every image has every guide.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..records import Mistake, Progress, Request
from ..seeding import generator, permutation
from .base import make_request

ALL = ("image", "contrastive", "adversarial")


class ActGen:
    """Draws misclassified images anew, guided by them, by what was drawn before and by the classifier."""

    name = "actgen"
    needs_holdout = True

    def __init__(self, curriculum: bool = True) -> None:
        self.curriculum = curriculum

    def plan(
        self, mistakes: Sequence[Mistake], class_names: Sequence[str], budget: int, progress: Progress, seed: int
    ) -> list[Request]:
        """Return `budget` requests over the mistakes in random order, repeated if they are fewer; none without a mistake."""
        if not mistakes:
            return []
        order = permutation(len(mistakes), seed, "actgen", progress.epoch)
        unguided = unguided_share(progress)
        switches = torch.rand((budget, 2), generator=generator(seed, "actgen-switches", progress.epoch)).tolist()
        requests = []
        for number in range(budget):
            mistake = mistakes[order[number % len(order)]]
            guides = _guides(switches[number][0], switches[number][1], unguided) if self.curriculum else ALL
            requests.append(make_request(self.name, progress, number, mistake.label, class_names, seed, mistake.source, guides))
        return requests


def unguided_share(progress: Progress) -> float:
    """Return r of the curriculum for a finished epoch."""
    last = max(0.5 * progress.epochs - 1.0, 1e-9)
    return 0.5 * max(1.0 - progress.epoch / last, 0.0)


def _guides(first: float, second: float, unguided: float) -> tuple[str, ...]:
    if first < unguided:
        return ()
    return ALL if second > unguided + 0.5 else ("image", "contrastive")
