"""hard example -> request: the protocol of every strategy. Plans only: no GPU, no disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ...classifiers.mining import Mining
from ...core.class_words import class_prompt
from ...core.rng import derive, permutation
from ...core.types import HardExample, Progress, Request, Source

EVERY_EPOCH, BEFORE, PLATEAU = "every-epoch", "before", "plateau"
TIMES = (EVERY_EPOCH, BEFORE, PLATEAU)


class Strategy(Protocol):
    """Decides which images to generate."""

    @property
    def name(self) -> str:
        """What it is called in recipes and manifests."""
        ...

    @property
    def mining(self) -> Mining | None:
        """Which real images it wants to be given as `hard_examples`; None if it does without."""
        ...

    @property
    def when(self) -> str:
        """When its rounds come: after every epoch of the generating part, once before the training, or when the accuracy stops
        improving.
        """
        ...

    @property
    def candidates(self) -> int:
        """The most generated images that each of its images is chosen from; 1 for no choice (`best_of_n.py`)."""
        ...

    def plan(
        self, hard_examples: Sequence[HardExample], class_names: Sequence[str], budget: int, progress: Progress, seed: int
    ) -> list[Request]:
        """Return exactly `budget` requests (none if there is nothing to generate), a pure function of the arguments."""
        ...


def make_request(
    strategy: str,
    progress: Progress,
    number: int,
    label: int,
    class_names: Sequence[str],
    seed: int,
    source: Source | None = None,
    guides: tuple[str, ...] = (),
    strength: float = 1.0,
) -> Request:
    """Return request `number` of the round; its key and seed are functions of the run's seed, the round and the number."""
    name, round_ = class_names[label], "pre" if progress.epoch < 0 else f"r{progress.epoch:03d}"
    return Request(
        key=f"{round_}-{number:05d}",
        label=label,
        class_name=name,
        prompt=class_prompt(name),
        seed=derive(seed, "request", progress.epoch, number),
        strategy=strategy,
        round=progress.epoch,
        source=source,
        guides=guides,
        strength=strength,
    )


def deal(hard_examples: Sequence[HardExample], budget: int, seed: int, *key: str | int) -> list[HardExample]:
    """Return `budget` of the hard examples in random order, all of them before any is repeated; [] if there are none."""
    if not hard_examples:
        return []
    order = permutation(len(hard_examples), seed, *key)
    return [hard_examples[order[number % len(order)]] for number in range(budget)]


def balanced_labels(classes: int, budget: int, seed: int, *key: str | int) -> list[int]:
    """Return `budget` labels, every class equally often; the classes left over are drawn by lot."""
    lot = permutation(classes, seed, *key)
    return [lot[number % classes] for number in range(budget)]
