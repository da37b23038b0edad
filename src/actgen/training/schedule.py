"""When to generate and how much, and how fast to learn: pure functions of where the training stands."""

from __future__ import annotations

import math
from collections.abc import Sequence


def generating_epochs(epochs: int, until: float, later: int = 0) -> int:
    """Return how many epochs, counted from the first, are followed by a round of generation (the paper: the first half).

    `later`: how many epochs a round's images join later than after the epoch before them; all are trained on once at least.
    """
    return min(max(epochs - 1 - later, 0), math.floor(until * epochs))


def round_budgets(total: int, rounds: int) -> list[int]:
    """Split `total` images over the rounds as evenly as whole numbers allow, the larger shares first."""
    if rounds == 0:
        return []
    share, rest = divmod(total, rounds)
    return [share + (number < rest) for number in range(rounds)]


def has_round(epoch: int, generating: int, every: int) -> bool:
    """Whether one of the `generating` epochs is followed by a round: each `every`th and the last of them."""
    return (epoch + 1) % every == 0 or epoch + 1 == generating


def epoch_budgets(total: int, generating: int, every: int) -> list[int]:
    """Return the images that are generated after each of the `generating` epochs: 0 where there is no round."""
    rounds = [epoch for epoch in range(generating) if has_round(epoch, generating, every)]
    shares = dict(zip(rounds, round_budgets(total, len(rounds)), strict=True))
    return [shares.get(epoch, 0) for epoch in range(generating)]


def stopped_improving(accuracies: Sequence[float], patience: int) -> bool:
    """Whether none of the last `patience` accuracies is above all before them; not before there are more than those."""
    return len(accuracies) > patience and max(accuracies[-patience:]) <= max(accuracies[:-patience])


def with_rejections(missing: int, refused: int, share: int) -> int:
    """Return how many of the `missing` images a round asks for after `refused` refusals; `share` is the round's own.

    What filters refused is made up for by at most once more the share, so that a class that cannot be generated does not
    take more generated images from round to round; other gaps are closed at once.
    """
    return min(missing, max(missing - refused, 2 * share))


def schedule_position(epoch: int, number: int, steps: int, nominal: int) -> float:
    """Return where step `number` of an epoch's `steps` stands in a schedule with `nominal` steps an epoch.

    Every epoch covers the same share of the schedule, however many steps it takes.
    """
    return epoch * nominal + number * nominal / steps
