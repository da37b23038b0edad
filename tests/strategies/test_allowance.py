"""Laws of the budget by class."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
import torch

from actgen.strategies.allowance import (
    FLOOR,
    LAST_TRY,
    Outcome,
    class_budgets,
    class_losses,
    class_shares,
    load_state_dict,
    state_dict,
)

CLASSES = 5


def outcome(**changes: tuple[float, ...]) -> Outcome:
    start = Outcome(drawn=(20,) * CLASSES, kept=(20,) * CLASSES, loss_before=(1.0,) * CLASSES, loss_after=(0.5,) * CLASSES)
    return replace(start, **changes)  # type: ignore[arg-type]


def some_history(seed: int) -> list[Outcome]:
    """Return rounds with anything in them: classes without images, without losses, with all refused."""
    draw = random.Random(seed)
    rounds = []
    for _ in range(draw.randrange(8)):
        drawn = tuple(draw.choice((0, 1, 10, 100)) for _ in range(CLASSES))
        kept = tuple(draw.choice((0, count, draw.randint(0, count))) for count in drawn)
        before, after = (tuple(draw.choice((math.nan, draw.random())) for _ in range(CLASSES)) for _ in range(2))
        rounds.append(Outcome(drawn=drawn, kept=kept, loss_before=before, loss_after=after))
    return rounds


def test_without_history_all_classes_have_the_same() -> None:
    assert class_shares([], CLASSES) == [1 / CLASSES] * CLASSES
    assert class_shares([outcome(), outcome()], CLASSES) == pytest.approx([1 / CLASSES] * CLASSES)


@pytest.mark.parametrize("seed", range(100))
def test_shares_are_bounded_and_budgets_add_up(seed: int) -> None:
    history = some_history(seed)
    shares = class_shares(history, CLASSES)
    assert sum(shares) == pytest.approx(1.0)
    recent = history[-5:]
    for label, share in enumerate(shares):
        hopeless = not any(one.kept[label] for one in recent) and any(one.drawn[label] for one in recent)
        assert share >= (LAST_TRY if hopeless else FLOOR) / CLASSES - 1e-12
    for budget in (0, 1, 7, 1000):
        counts = class_budgets(shares, budget)
        assert sum(counts) == budget
        assert all(abs(count - share * budget) < 1 for count, share in zip(counts, shares, strict=True))
    assert shares == class_shares(history, CLASSES)


def test_the_budget_leaves_a_class_that_is_mostly_refused() -> None:
    shares = class_shares([outcome(kept=(2, 20, 20, 20, 20))], CLASSES)
    assert shares[0] == FLOOR / CLASSES
    assert shares[1:] == pytest.approx([(1 - shares[0]) / 4] * 4)


def test_more_refusals_never_mean_a_larger_share() -> None:
    shares = [class_shares([outcome(kept=(kept, 20, 20, 20, 20))], CLASSES)[0] for kept in range(21)]
    assert shares == sorted(shares)
    assert shares[0] == LAST_TRY / CLASSES < shares[1] == FLOOR / CLASSES


def test_the_budget_leaves_a_class_whose_loss_does_not_fall() -> None:
    worse = outcome(loss_after=(1.2, 0.5, 0.5, 0.5, 0.5))
    shares = class_shares([worse, worse], CLASSES)
    assert FLOOR / CLASSES <= shares[0] < shares[1] == shares[4]
    assert class_shares([worse, worse, *[outcome()] * 5], CLASSES) == pytest.approx([1 / CLASSES] * CLASSES)  # and comes back


def test_a_loss_that_was_not_measured_counts_for_nothing() -> None:
    blind = outcome(loss_before=(math.nan, 1.0, 1.0, 1.0, 1.0), loss_after=(math.nan, 0.5, 0.5, 0.5, 0.5))
    assert class_shares([blind], CLASSES) == pytest.approx([1 / CLASSES] * CLASSES)


def test_when_all_is_refused_all_classes_have_the_same() -> None:
    assert class_shares([outcome(kept=(0,) * CLASSES)], CLASSES) == pytest.approx([1 / CLASSES] * CLASSES)


def test_losses_of_classes() -> None:
    losses = class_losses(torch.tensor([1.0, 3.0, 5.0]), torch.tensor([0, 0, 2]), 3)
    assert losses[0] == 2.0
    assert math.isnan(losses[1])
    assert losses[2] == 5.0


def test_a_history_survives_a_stop() -> None:
    history = [outcome(kept=(1, 2, 3, 4, 5)), outcome()]
    assert load_state_dict(state_dict(history)) == history
