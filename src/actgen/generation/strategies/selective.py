"""`selective`: text-to-image for the classes that are confused, each image chosen from many (`best_of_n.py`), before the
training.

Ours, made because the published ways gain little on small data: hard examples are few and already known, and images generated
of them mostly show another class (research log). A proxy model is trained on the real images first. Which classes are
generated follows its running losses, so that no label is given to a hold-out. Images that it finds hard when it is done, and
that the generator itself assigns to their class, are found by best of n, not by gradients.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...classifiers.mining import TRAINING, Mining
from ...core.types import HardExample, Progress, Request
from .base import BEFORE, balanced_labels, deal, make_request


class Selective:
    """Generates the classes of the real images with the highest running loss, without guides."""

    name = "selective"
    mining = Mining(pool=TRAINING, by="loss", share=0.25)
    when = BEFORE
    candidates = 24

    def plan(
        self, hard_examples: Sequence[HardExample], class_names: Sequence[str], budget: int, progress: Progress, seed: int
    ) -> list[Request]:
        """Return `budget` requests with the classes of the hard examples; every class equally often if there is none."""
        labels = [one.label for one in deal(hard_examples, budget, seed, self.name, progress.epoch)]
        if not labels:
            labels = balanced_labels(len(class_names), budget, seed, self.name, progress.epoch)
        return [make_request(self.name, progress, n, label, class_names, seed) for n, label in enumerate(labels)]
