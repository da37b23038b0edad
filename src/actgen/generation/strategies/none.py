"""`none`: real images only; the control that everything is compared with."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.types import HardExample, Progress, Request
from .base import EVERY_EPOCH


class RealOnly:
    """Generates nothing."""

    name = "none"
    mining = None
    when = EVERY_EPOCH
    candidates = 1

    def plan(
        self, hard_examples: Sequence[HardExample], class_names: Sequence[str], budget: int, progress: Progress, seed: int
    ) -> list[Request]:
        """Return no requests."""
        return []
