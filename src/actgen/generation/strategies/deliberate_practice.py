"""`deliberate-practice`: images of which the learner is unsure, when it stops improving (arXiv 2502.15588).

The entropy of the classifier on the predicted clean image guides the latents (`guides/entropy.py`), and rounds start when the
accuracy on the held-out images stops improving. Deviations: they train on synthetic images alone and set older ones aside;
here the images join the real ones, as for every other strategy. What no plateau has asked for is generated in the last epoch
of the generating part, so that budgets stay equal.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...classifiers.mining import ON_HOLDOUT
from ...core.types import HardExample, Progress, Request
from .base import PLATEAU, balanced_labels, make_request


class DeliberatePractice:
    """Generates every class equally often, each image towards high entropy of the classifier."""

    name = "deliberate-practice"
    mining = ON_HOLDOUT  # for the accuracy that decides when: on training images it says little
    when = PLATEAU
    candidates = 1

    def plan(
        self, hard_examples: Sequence[HardExample], class_names: Sequence[str], budget: int, progress: Progress, seed: int
    ) -> list[Request]:
        """Return `budget` requests; the hard examples are not looked at."""
        labels = balanced_labels(len(class_names), budget, seed, self.name, progress.epoch)
        return [
            make_request(self.name, progress, n, label, class_names, seed, guides=("entropy",))
            for n, label in enumerate(labels)
        ]
