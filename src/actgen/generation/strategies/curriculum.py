"""`curriculum`: from nearly real to freely generated images of the hard examples, or the other way round (DisCL, arXiv
2410.13674).

The strength of image-to-image moves linearly from `first` to `last` over the rounds. Deviations: they fix a set of image
guidance levels and choose the level of each stage by validation; here every round has one level. Their hard samples are
those of a trained classifier; here they are what the classifier of the round gets wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...classifiers.mining import MISCLASSIFIED
from ...core.types import HardExample, Progress, Request
from .base import EVERY_EPOCH, deal, make_request


class Curriculum:
    """Image-to-image of the hard examples, noised more from round to round; from noise alone in the end."""

    name = "curriculum"
    mining = MISCLASSIFIED
    when = EVERY_EPOCH
    candidates = 1
    first, last = 0.3, 1.0

    def plan(
        self, hard_examples: Sequence[HardExample], class_names: Sequence[str], budget: int, progress: Progress, seed: int
    ) -> list[Request]:
        """Return `budget` requests of one strength over the hard examples in random order."""
        along = min(1.0, max(progress.epoch, 0) / max(1.0, 0.5 * progress.epochs - 1.0))
        strength = self.first + (self.last - self.first) * along
        chosen = deal(hard_examples, budget, seed, self.name, progress.epoch)
        return [
            make_request(self.name, progress, n, one.label, class_names, seed, one.source, strength=strength)
            for n, one in enumerate(chosen)
        ]
