"""Losses and gradients that are no numbers: told before they get into the weights."""

from __future__ import annotations

import math

from ...core.parallel.ranks import SharedFailure
from ..training import Training


def refuse_not_finite(training: Training, name: str, value: float, at: tuple[int, int]) -> None:
    """Raise `RunFailure` before a loss or a gradient that is not a number gets into the weights; `at`: (epoch, step) from 0."""
    if math.isfinite(value):
        return
    epoch, step = at
    there = f"The state after epoch {epoch} is in {training.folder / 'checkpoints'}." if epoch else "No epoch was finished."
    raise SharedFailure(
        f"the training {name} is {value} in step {step + 1} of epoch {epoch + 1}, at a learning rate of "
        f"{training.learner.optimizer.param_groups[0]['lr']:.3g}. {there}\nStart again with a smaller "
        f"training.learning_rate (now {training.learner.options.learning_rate:g}) and another --out."
    )
