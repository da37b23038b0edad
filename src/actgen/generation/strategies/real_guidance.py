"""`real-guidance`: image-to-image from real training images (He et al. 2023, "Is synthetic data from generative models ready
for image recognition?"): every real image may be a start, whether the classifier knows it or not.

Deviations: they generate before the training and choose the strength by the number of shots; here the same share `strength` of
the schedule is taken in every round. Their CLIP filter is `[filters] consistency` here, off unless asked for.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...classifiers.mining import TRAINING, Mining
from ...core.types import HardExample, Progress, Request
from .base import EVERY_EPOCH, deal, make_request


class RealGuidance:
    """Generates from real training images taken at random, noised to a fixed level; no guides, no classifier."""

    name = "real-guidance"
    mining = Mining(pool=TRAINING, by="random", share=1.0)
    when = EVERY_EPOCH
    candidates = 1
    strength = 0.6

    def plan(
        self, hard_examples: Sequence[HardExample], class_names: Sequence[str], budget: int, progress: Progress, seed: int
    ) -> list[Request]:
        """Return `budget` requests over the real images in random order."""
        chosen = deal(hard_examples, budget, seed, self.name, progress.epoch)
        return [
            make_request(self.name, progress, n, one.label, class_names, seed, one.source, strength=self.strength)
            for n, one in enumerate(chosen)
        ]
