"""`text-only`: random generation from class prompts, balanced over the classes (the paper's "random SD")."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.types import HardExample, Progress, Request
from .base import EVERY_EPOCH, balanced_labels, make_request


class TextOnly:
    """Generates every class equally often, without guides."""

    name = "text-only"
    mining = None
    when = EVERY_EPOCH
    candidates = 1

    def plan(
        self, hard_examples: Sequence[HardExample], class_names: Sequence[str], budget: int, progress: Progress, seed: int
    ) -> list[Request]:
        """Return `budget` requests; the classes left over in an uneven division are drawn by lot."""
        labels = balanced_labels(len(class_names), budget, seed, "text-only", progress.epoch)
        return [make_request(self.name, progress, n, label, class_names, seed) for n, label in enumerate(labels)]
