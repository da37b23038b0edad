"""Laws of the budget by class."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from actgen.core.types import Progress, Request
from actgen.generation.strategies.class_budgets import (
    FLOOR,
    LAST_TRY,
    ClassBudgets,
    Outcome,
    apply_budgets,
    class_budgets,
    class_losses,
    class_shares,
)
from actgen.generation.strategies.text_only import TextOnly

CLASSES = 5


def outcome(**changes: tuple[float, ...]) -> Outcome:
    start = Outcome(generated=(20,) * CLASSES, kept=(20,) * CLASSES, loss_before=(1.0,) * CLASSES, loss_after=(0.5,) * CLASSES)
    return replace(start, **changes)  # type: ignore[arg-type]


def some_history(seed: int) -> list[Outcome]:
    """Return rounds with anything in them: classes without images, without losses, with all refused."""
    generate = random.Random(seed)
    rounds = []
    for _ in range(generate.randrange(8)):
        generated = tuple(generate.choice((0, 1, 10, 100)) for _ in range(CLASSES))
        kept = tuple(generate.choice((0, count, generate.randint(0, count))) for count in generated)
        before, after = (tuple(generate.choice((math.nan, generate.random())) for _ in range(CLASSES)) for _ in range(2))
        rounds.append(Outcome(generated=generated, kept=kept, loss_before=before, loss_after=after))
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
        hopeless = not any(one.kept[label] for one in recent) and any(one.generated[label] for one in recent)
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


def test_what_is_noted_is_what_came_since() -> None:
    class_budgets = ClassBudgets(CLASSES)
    class_budgets.note([1.0] * CLASSES, [0] * CLASSES, [0] * CLASSES)
    assert class_budgets.shares is None
    class_budgets.note([0.5] * CLASSES, [20] * CLASSES, [20] * CLASSES)
    class_budgets.note([0.5] * CLASSES, [20] * CLASSES, [20] * CLASSES)  # a look without a round
    class_budgets.note([0.4] * CLASSES, [40] * CLASSES, [22, 40, 40, 40, 40])
    assert class_budgets.history == [
        outcome(),
        outcome(kept=(2, 20, 20, 20, 20), loss_before=(0.5,) * CLASSES, loss_after=(0.4,) * CLASSES),
    ]
    assert class_budgets.shares == class_shares(class_budgets.history, CLASSES)


def test_a_look_that_is_taken_back_was_never_there() -> None:
    class_budgets, other = ClassBudgets(CLASSES), ClassBudgets(CLASSES)
    other.take_back()  # nothing to take back
    for one in (class_budgets, other):
        one.note([1.0] * CLASSES, [0] * CLASSES, [0] * CLASSES)
    other.note([0.7] * CLASSES, [20] * CLASSES, [20] * CLASSES)
    again = ClassBudgets(CLASSES)
    again.load_state_dict(other.state_dict())
    again.take_back()
    for one in (class_budgets, again):
        one.note([0.5] * CLASSES, [20] * CLASSES, [20] * CLASSES)
    assert class_budgets.history == [outcome()]
    assert vars(again) == vars(class_budgets)


def test_an_allowance_survives_a_stop() -> None:
    class_budgets, again = ClassBudgets(CLASSES), ClassBudgets(CLASSES)
    for number in range(3):
        class_budgets.note([1.0 / (1 + number)] * CLASSES, [20 * number] * CLASSES, [15 * number] * CLASSES)
    again.load_state_dict(class_budgets.state_dict())
    assert vars(again) == vars(class_budgets)


def round_classifier(labels: Sequence[int]) -> list[Request]:
    names = [f"class {label}" for label in range(CLASSES)]
    few = TextOnly().plan([], names, len(labels), Progress(epoch=1, epochs=2), 0)
    return [replace(request, label=label) for request, label in zip(few, labels, strict=True)]


@pytest.mark.parametrize("seed", range(50))
def test_a_ration_is_the_budget_in_the_order_asked(seed: int) -> None:
    generate = random.Random(seed)
    requests = round_classifier([generate.randrange(CLASSES) for _ in range(generate.randrange(100))])
    budget = generate.randint(0, len(requests))
    chosen = apply_budgets(requests, class_shares(some_history(seed), CLASSES), budget)
    assert len(chosen) == budget
    assert chosen == [request for request in requests if request in chosen]


def test_a_ration_follows_shares_and_what_was_asked_for() -> None:
    requests = round_classifier([0, 1, 1] * 40)  # class 1 twice as often, the others never
    equal = Counter(request.label for request in apply_budgets(requests, [1 / CLASSES] * CLASSES, 30))
    assert equal == {0: 10, 1: 20}
    less = Counter(request.label for request in apply_budgets(requests, [0.25, 0.5, 0.1, 0.1, 0.05], 30))
    assert less == {0: 6, 1: 24}


def test_where_a_class_has_too_few_others_take_its_place() -> None:
    assert [request.label for request in apply_budgets(round_classifier([0, 0, 1]), [0.1, 0.9, 0, 0, 0], 3)] == [0, 0, 1]
