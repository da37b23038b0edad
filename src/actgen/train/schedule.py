"""When to generate and how much, and how fast to learn: pure functions of where the training stands."""

from __future__ import annotations

import math


def generating_epochs(epochs: int, until: float) -> int:
    """Return how many epochs, counted from the first, are followed by a round of generation (the paper: the first half)."""
    return min(max(epochs - 1, 0), math.floor(until * epochs))


def round_budgets(total: int, rounds: int) -> list[int]:
    """Split `total` images over the rounds as evenly as whole numbers allow, the larger shares first."""
    if rounds == 0:
        return []
    share, rest = divmod(total, rounds)
    return [share + (number < rest) for number in range(rounds)]


def learning_rate(step: int, total: int, peak: float, warmup: float) -> float:
    """Return the rate of optimiser step `step` (0-based) of `total`: linear warm-up over a fraction, then cosine to zero."""
    ramp = warmup * total
    if step < ramp:
        return peak * (step + 1) / (ramp + 1)
    return peak * 0.5 * (1.0 + math.cos(math.pi * (step - ramp) / max(1.0, total - ramp)))
