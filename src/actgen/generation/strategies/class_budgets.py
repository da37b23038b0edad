"""Weak classes: the budget moves away from classes whose images are mostly rejected, or do not lower the held-out loss.

Pure functions of what earlier rounds came to. The paper names the limit (some classes are generated badly) and no remedy; this
is ours: every class is weighted by keep rate x usefulness over the last `REMEMBERED` rounds, and never falls below a floor, so
that a class can come back.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NotRequired, TypedDict

from torch import Tensor

from ...core.types import Request

REMEMBERED = 5  # rounds
FLOOR = 1 / 4  # of the equal share
LAST_TRY = 1 / 16  # of the equal share, for a class of which nothing was kept
FEW = 8  # so few generated images say nothing yet
SPARE = 4  # times the budget is planned for, to choose by class from


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a round came to, by class: images generated and kept, mean held-out loss before and after it (NaN: not measured)."""

    generated: tuple[int, ...]
    kept: tuple[int, ...]
    loss_before: tuple[float, ...]
    loss_after: tuple[float, ...]


class ClassState(TypedDict):
    """A `ClassBudgets` as plain data; `history` holds the outcomes as dictionaries."""

    history: list[dict[str, Any]]
    losses: tuple[float, ...] | None
    generated: tuple[int, ...]
    kept: tuple[int, ...]
    before: NotRequired[ClassState | None]


class ClassBudgets:
    """What the rounds so far came to; updated with every prediction of the pool, before the next round is planned.

    `before`: without the last update.
    """

    def __init__(self, classes: int) -> None:
        self.history: list[Outcome] = []
        self.losses: tuple[float, ...] | None = None
        self.generated = self.kept = (0,) * classes
        self.before: ClassState | None = None

    def note(self, losses_K: Sequence[float], generated_K: Sequence[int], kept_K: Sequence[int]) -> None:
        """Take the mean losses of the classes now, and how many images of each were generated and kept since the start."""
        self.before = self._known()
        generated, kept = _minus(generated_K, self.generated), _minus(kept_K, self.kept)
        if self.losses is not None and any(generated):
            self.history.append(Outcome(generated=generated, kept=kept, loss_before=self.losses, loss_after=tuple(losses_K)))
            del self.history[:-REMEMBERED]
        self.losses, self.generated, self.kept = tuple(losses_K), tuple(generated_K), tuple(kept_K)

    def take_back(self) -> None:
        """Forget the last look, once: its round is planned anew."""
        if self.before is not None:
            self.load_state_dict(self.before)

    @property
    def shares(self) -> list[float] | None:
        """The share of the budget of each class; None before anything is known."""
        return class_shares(self.history, len(self.generated)) if self.history else None

    def state_dict(self) -> ClassState:
        """Return the state as plain data."""
        return {**self._known(), "before": self.before}

    def load_state_dict(self, state: ClassState) -> None:
        """Take back what `state_dict` returned."""
        self.history = [Outcome(**one) for one in state["history"]]
        self.losses, self.generated, self.kept = state["losses"], state["generated"], state["kept"]
        self.before = state.get("before")

    def _known(self) -> ClassState:
        history = [asdict(outcome) for outcome in self.history]
        return {"history": history, "losses": self.losses, "generated": self.generated, "kept": self.kept}


def apply_budgets(requests: Sequence[Request], shares: Sequence[float], budget: int) -> list[Request]:
    """Return `budget` of more `requests`: the classes in proportion to how often they were asked for and to their shares.

    Of every class the first ones, in the order they were asked for. Where a class has too few, others take its place.
    """
    asked = Counter(request.label for request in requests)
    weights = [asked[label] * share for label, share in enumerate(shares)]
    if not sum(weights):
        return list(requests[:budget])
    left = class_budgets([weight / sum(weights) for weight in weights], budget)
    chosen: set[str] = set()
    for request in requests:
        if left[request.label] > 0:
            left[request.label] -= 1
            chosen.add(request.key)
    for request in requests:
        if len(chosen) >= budget:
            break
        chosen.add(request.key)
    return [request for request in requests if request.key in chosen]


def class_losses(losses_N: Tensor, labels_N: Tensor, classes: int) -> tuple[float, ...]:
    """Return the mean loss of every class; NaN for a class without images."""
    sums = losses_N.new_zeros(classes).double().index_add_(0, labels_N, losses_N.double())
    return tuple((sums / labels_N.bincount(minlength=classes)).tolist())


def class_shares(history: Sequence[Outcome], classes: int) -> list[float]:
    """Return the share of the budget of each class, in all 1; equal shares without history."""
    recent = history[-REMEMBERED:]
    weights = [_keep_rate(recent, label) * _usefulness(recent, label) for label in range(classes)]
    floors = [(LAST_TRY if _is_hopeless(recent, label) else FLOOR) / classes for label in range(classes)]
    return _filled(weights, floors)


def class_budgets(shares: Sequence[float], budget: int) -> list[int]:
    """Return whole numbers in these shares, in all exactly `budget`: largest remainders first, then the lower label."""
    exact = [share * budget for share in shares]
    counts = [math.floor(one + 1e-9) for one in exact]
    by_rest = sorted(range(len(shares)), key=lambda label: (counts[label] - exact[label], label))
    for label in by_rest[: budget - sum(counts)]:
        counts[label] += 1
    return counts


def _minus(now: Sequence[int], before: Sequence[int]) -> tuple[int, ...]:
    return tuple(one - other for one, other in zip(now, before, strict=True))


def _keep_rate(history: Sequence[Outcome], label: int) -> float:
    """Return the share of kept images, near 1 before anything was generated."""
    return (1 + sum(one.kept[label] for one in history)) / (1 + sum(one.generated[label] for one in history))


def _usefulness(history: Sequence[Outcome], label: int) -> float:
    """Return the share of the rounds after which the class's loss was lower, of those that gave it images; near 1 at first."""
    given = [one for one in history if one.kept[label] and not math.isnan(one.loss_before[label] + one.loss_after[label])]
    return (1 + sum(one.loss_after[label] < one.loss_before[label] for one in given)) / (1 + len(given))


def _is_hopeless(history: Sequence[Outcome], label: int) -> bool:
    return sum(one.generated[label] for one in history) >= FEW and not any(one.kept[label] for one in history)


def _filled(weights: Sequence[float], floors: Sequence[float]) -> list[float]:
    """Return max(floor, c x weight) with the c that makes the sum 1."""
    low: set[int] = set()
    while True:
        free = 1 - sum(floors[label] for label in low)
        total = sum(weight for label, weight in enumerate(weights) if label not in low)
        shares = [floors[k] if k in low else free * weight / total for k, weight in enumerate(weights)]
        below = {k for k, share in enumerate(shares) if share < floors[k]} - low
        if not below:
            return shares
        low |= below
