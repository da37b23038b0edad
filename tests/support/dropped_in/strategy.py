"""A strategy from outside: every image of a round is of one class, the round's, with the guide beside it."""

from __future__ import annotations

from collections.abc import Sequence

from actgen.core.types import HardExample, Progress, Request
from actgen.generation.strategies.base import EVERY_EPOCH, make_request


class ByTurns:
    """Generates for class 0, 1, ... in turn, one class a round."""

    name = "by-turns"
    mining = None
    when = EVERY_EPOCH
    candidates = 1

    def plan(
        self, hard_examples: Sequence[HardExample], class_names: Sequence[str], budget: int, progress: Progress, seed: int
    ) -> list[Request]:
        label = progress.epoch % len(class_names)
        return [make_request(self.name, progress, n, label, class_names, seed, guides=("shift",)) for n in range(budget)]
