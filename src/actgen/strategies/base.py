"""mistake -> request: the face of every strategy. Plans only: no GPU, no disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..prompts import class_prompt
from ..records import Mistake, Progress, Request, Source
from ..seeding import derive


class Strategy(Protocol):
    """Decides which images to draw. `needs_holdout`: whether part of the training data must be held out to find mistakes."""

    name: str
    needs_holdout: bool

    def plan(
        self, mistakes: Sequence[Mistake], class_names: Sequence[str], budget: int, progress: Progress, seed: int
    ) -> list[Request]:
        """Return exactly `budget` requests (none if there is nothing to draw), a pure function of the arguments."""
        ...


def make_request(
    strategy: str, progress: Progress, number: int, label: int, class_names: Sequence[str], seed: int,
    source: Source | None = None, guides: tuple[str, ...] = (),
) -> Request:  # fmt: skip
    """Return request `number` of the round; its key and seed are functions of the run's seed, the round and the number."""
    name = class_names[label]
    return Request(
        key=f"r{progress.epoch:03d}-{number:05d}", label=label, class_name=name, prompt=class_prompt(name),
        seed=derive(seed, "request", progress.epoch, number), strategy=strategy, round=progress.epoch, source=source,
        guides=guides,
    )  # fmt: skip
