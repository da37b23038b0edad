"""`oversample`: the misclassified held-out images themselves, repeated; a control without a generator.

What it gains is what mining alone gains; what `actgen` gains beyond it comes from the generator.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...classifiers.mining import MISCLASSIFIED
from ...core.types import HardExample, Progress, Request
from .base import EVERY_EPOCH, deal, make_request


class Oversample:
    """Asks for copies of the hard examples: image-to-image of strength 0."""

    name = "oversample"
    mining = MISCLASSIFIED
    when = EVERY_EPOCH
    candidates = 1

    def plan(
        self, hard_examples: Sequence[HardExample], class_names: Sequence[str], budget: int, progress: Progress, seed: int
    ) -> list[Request]:
        """Return `budget` requests over the hard examples in random order, repeated if they are fewer."""
        chosen = deal(hard_examples, budget, seed, self.name, progress.epoch)
        return [
            make_request(self.name, progress, n, one.label, class_names, seed, one.source, strength=0.0)
            for n, one in enumerate(chosen)
        ]
