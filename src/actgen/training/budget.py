"""The image budget: how many images are to be generated in all, and how many of them the round after an epoch owes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..generation.strategies.base import BEFORE, EVERY_EPOCH, PLATEAU
from ..generation.strategies.class_budgets import ClassBudgets
from .schedule import epoch_budgets, generating_epochs, has_round, stopped_improving, with_rejections

PLATEAU_ROUNDS, PLATEAU_PATIENCE = 5, 2


@dataclass(frozen=True, kw_only=True)
class ImageBudget:
    """`total` images, generated in rounds after each `every`th of the first part `until` of the `epochs`; 0 epochs: no rounds.

    `when` rounds come is the strategy's. `later`: an epoch more lies between a round and the first epoch that trains on it, as
    where a second process generates. `class_budgets`: classes that are generated badly get less
    (`strategies/class_budgets.py`).
    """

    total: int = 0
    epochs: int = 0
    until: float = 0.5
    every: int = 1
    when: str = EVERY_EPOCH
    later: bool = False
    class_budgets: ClassBudgets | None = None

    @cached_property
    def generating(self) -> int:
        """How many epochs, from the first, may be followed by a round."""
        return generating_epochs(self.epochs, self.until, self.later)

    @cached_property
    def per_epoch(self) -> list[int]:
        """The images of the round after each of the `generating` epochs: 0 where there is none."""
        return epoch_budgets(self.total, self.generating, self.every)

    def has_round(self, epoch: int) -> bool:
        """Whether there is a look at the real images, and perhaps a round, after an epoch."""
        return epoch < self.generating and (self.when == PLATEAU or has_round(epoch, self.generating, self.every))

    def owed(
        self,
        epoch: int,
        generated: int,
        *,
        rejections: int = 0,
        accuracy: float | None = None,
        stats: Sequence[Mapping[str, Any]] = (),
    ) -> int:
        """Return how many images the round of an epoch is to generate after `generated`: earlier rounds' gaps are made up for.

        `rejections`: how many more the filters have refused. `accuracy`: of the classifier now, on the images that the rounds
        look at, in percent; it and the `stats` of the epochs before decide when rounds come that wait for a plateau. Epoch -1
        is before the first.
        """
        due = self.total if self.when == BEFORE else sum(self.per_epoch[: epoch + 1])
        if self.when == PLATEAU and epoch + 1 < self.generating:
            due = generated + self._plateau_share(generated, accuracy, stats)
        return with_rejections(max(0, min(due, self.total) - generated), rejections, self._share(epoch))

    def _share(self, epoch: int) -> int:
        """Return how many images a round is there for by itself."""
        if self.when == PLATEAU:
            return -(-self.total // PLATEAU_ROUNDS)
        return self.per_epoch[epoch] if epoch >= 0 else self.total

    def _plateau_share(self, generated: int, accuracy: float | None, stats: Sequence[Mapping[str, Any]]) -> int:
        """Return a share of the budget if the accuracy has stopped improving since the last round, else 0."""
        since = [row for row in stats if row["generated_so_far"] == generated]
        accuracies = [float(row["holdout_accuracy"]) for row in since] + [float(accuracy or 0.0)]
        return self._share(0) if stopped_improving(accuracies, PLATEAU_PATIENCE) else 0
