"""Laws of when to generate, how much, and how fast to learn."""

from __future__ import annotations

import pytest
import torch

from actgen.training.optim.scheduler import cosine
from actgen.training.sampling import passes
from actgen.training.schedule import (
    epoch_budgets,
    generating_epochs,
    has_round,
    round_budgets,
    schedule_position,
)


@pytest.mark.parametrize("total", [0, 1, 7, 600, 601])
@pytest.mark.parametrize("rounds", [1, 2, 7, 15])
def test_budgets_add_up_and_are_even(total: int, rounds: int) -> None:
    budgets = round_budgets(total, rounds)
    assert (len(budgets), sum(budgets)) == (rounds, total)
    assert max(budgets) - min(budgets) <= 1
    assert budgets == sorted(budgets, reverse=True)


def test_no_rounds_no_budgets() -> None:
    assert round_budgets(10, 0) == []


@pytest.mark.parametrize("total", [0, 5, 601])
@pytest.mark.parametrize("generating", [0, 1, 7, 15])
@pytest.mark.parametrize("every", [1, 2, 3, 100])
def test_rounds_come_every_so_many_epochs_and_at_the_end(total: int, generating: int, every: int) -> None:
    budgets = epoch_budgets(total, generating, every)
    rounds = [epoch for epoch in range(generating) if has_round(epoch, generating, every)]
    assert sum(budgets) == (total if generating else 0)
    assert all(epoch in rounds for epoch, share in enumerate(budgets) if share)
    assert all(later - earlier <= every for earlier, later in zip([-1, *rounds], rounds, strict=False))
    assert (rounds[-1:] or [-1]) == [generating - 1]
    assert epoch_budgets(total, generating, 1) == round_budgets(total, generating)


@pytest.mark.parametrize("epochs", [1, 2, 3, 4, 5, 30])
@pytest.mark.parametrize("until", [0.0, 0.3, 0.5, 1.0])
def test_the_last_epoch_is_never_followed_by_a_round(epochs: int, until: float) -> None:
    generating = generating_epochs(epochs, until)
    assert 0 <= generating <= epochs - 1
    assert generating <= until * epochs


def test_the_first_half_generates() -> None:
    assert [generating_epochs(epochs, 0.5) for epochs in (1, 2, 4, 30, 31)] == [0, 1, 2, 15, 15]


def rates_of(total: int, peak: float, warmup: float) -> list[float]:
    """Return the rates of all steps of a schedule, as the optimiser has them."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    schedule = cosine(optimizer, total, peak, warmup, 0.0)
    rates = []
    for step in range(total):
        schedule.step_update(step)
        rates.append(float(optimizer.param_groups[0]["lr"]))
    return rates


@pytest.mark.parametrize("total", [1, 2, 10, 1000])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.9])
def test_the_rate_rises_once_falls_once_and_stays_positive(total: int, warmup: float) -> None:
    rates = rates_of(total, 0.2, warmup)
    top = rates.index(max(rates))
    assert 0 < min(rates) <= max(rates) <= 0.2
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)


@pytest.mark.parametrize("warmup", [0.0, 0.1])
def test_the_rate_reaches_its_peak_and_ends_near_zero(warmup: float) -> None:
    rates = rates_of(1000, 0.2, warmup)
    assert max(rates) == pytest.approx(0.2, rel=0.01)
    assert rates[-1] < 0.2 * 1e-5


@pytest.mark.parametrize(("images", "wanted"), [(10, 10), (10, 4), (10, 25), (1, 3)])
def test_an_epoch_sees_every_image_before_it_sees_one_again(images: int, wanted: int) -> None:
    order = passes(range(images), wanted, seed=0, epoch=1)
    assert len(order) == wanted
    counts = [order.count(index) for index in range(images)]
    assert max(counts) - min(counts) <= 1
    assert order == passes(range(images), wanted, seed=0, epoch=1)
    assert order[:1] == order[:wanted][:1]


def test_epochs_have_orders_of_their_own() -> None:
    assert passes(range(50), 50, seed=0, epoch=0) != passes(range(50), 50, seed=0, epoch=1)


@pytest.mark.parametrize("steps", [[5, 5, 5], [4, 7, 11], [1, 1, 50]])
def test_an_epoch_covers_its_share_of_the_schedule_however_long_it_is(steps: list[int]) -> None:
    places = [[schedule_position(epoch, number, count, 5) for number in range(count)] for epoch, count in enumerate(steps)]
    assert [epoch[0] for epoch in places] == [0, 5, 10]
    assert all(5 * number <= place < 5 * (number + 1) for number, epoch in enumerate(places) for place in epoch)
    assert steps != [5, 5, 5] or [place for epoch in places for place in epoch] == list(range(15))
