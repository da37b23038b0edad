"""The steps of the paper's ablation: what the classifier gets wrong, generated anew with more and more guides (ActGen, table of
the ablation).

The curriculum is that of the released code (METHOD: section 2.2 of its description): with e of E the epoch,
r = 0.5 max(1 - e/(0.5 E - 1), 0) is the share of plain text-to-image images, and the adversarial loss is on with
probability max(0, 0.5 - r) of the rest; both are decided per image. The paper names no curriculum: without one every image has
every guide.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ...classifiers.mining import MISCLASSIFIED, Mining
from ...core.rng import generator
from ...core.types import HardExample, Progress, Request
from .base import EVERY_EPOCH, deal, make_request


class Guided:
    """Generates misclassified images anew with the guides that a subclass names in `guides`."""

    name: str
    guides: tuple[str, ...]
    mining: Mining | None = MISCLASSIFIED
    when = EVERY_EPOCH
    candidates = 1

    def __init__(self, curriculum: bool = True) -> None:
        self.curriculum = curriculum

    def plan(
        self, hard_examples: Sequence[HardExample], class_names: Sequence[str], budget: int, progress: Progress, seed: int
    ) -> list[Request]:
        """Return `budget` requests over the hard examples in random order, repeated if they are fewer; none without a hard
        example."""
        unguided = unguided_share(progress)
        switches = torch.rand((budget, 2), generator=generator(seed, "actgen-switches", progress.epoch)).tolist()
        requests = []
        for number, hard_example in enumerate(deal(hard_examples, budget, seed, "actgen", progress.epoch)):
            guides = self._switched(switches[number], unguided) if self.curriculum else self.guides
            requests.append(
                make_request(self.name, progress, number, hard_example.label, class_names, seed, hard_example.source, guides)
            )
        return requests

    def _switched(self, switches: Sequence[float], unguided: float) -> tuple[str, ...]:
        """Return the guides of an image by its two random numbers."""
        if switches[0] < unguided:
            return ()
        return tuple(guide for guide in self.guides if guide != "adversarial" or switches[1] > unguided + 0.5)


def unguided_share(progress: Progress) -> float:
    """Return r of the curriculum for a finished epoch."""
    last = max(0.5 * progress.epochs - 1.0, 1e-9)
    return 0.5 * max(1.0 - progress.epoch / last, 0.0)
