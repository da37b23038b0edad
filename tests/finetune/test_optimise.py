"""Laws of the resumable optimisation loop."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from actgen.core.errors import UserError
from actgen.core.rng import generator
from actgen.core.signals import Stopped, heeded
from actgen.finetune.optimise import Schedule, optimise

SCHEDULE = Schedule(steps=12, batch_size=8, learning_rate=1e-2)


def network() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 1))


def run(module: nn.Module, folder: Path, stops: tuple[int, ...] = (), schedule: Schedule = SCHEDULE) -> dict[str, Tensor]:
    """Train, abandoning the loop after each number of `stops` ticks and starting it again with fresh weights."""
    for stop in (*stops, None):
        module = network()

        def loss_at(step: int, module: nn.Module = module) -> Tensor:
            x = torch.randn((8, 4), generator=generator(0, step))
            loss: Tensor = (module(x) - x.sum(dim=1, keepdim=True)).square().mean()
            return loss

        list(islice(optimise(module, loss_at, schedule, folder, checkpoint_steps=1), stop))
    return dict(module.state_dict())


@pytest.mark.parametrize("stops", [(5,), (1, 3), (12,)])
def test_a_stopped_run_equals_one_that_was_not(tmp_path: Path, stops: tuple[int, ...]) -> None:
    whole = run(network(), tmp_path / "whole")
    stopped = run(network(), tmp_path / "stopped", stops)
    for name, tensor in whole.items():
        assert torch.equal(tensor, stopped[name]), name


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_finishes_the_step_and_keeps_it(tmp_path: Path, number: int) -> None:
    whole, module = run(network(), tmp_path / "whole"), network()

    def loss_at(step: int) -> Tensor:
        if step == 5:
            os.kill(os.getpid(), number)
        x = torch.randn((8, 4), generator=generator(0, step))
        loss: Tensor = (module(x) - x.sum(dim=1, keepdim=True)).square().mean()
        return loss

    with heeded(), pytest.raises(Stopped):
        list(optimise(module, loss_at, SCHEDULE, tmp_path / "stopped"))
    assert torch.load(tmp_path / "stopped" / "state.pt", weights_only=True)["step"] == 6
    stopped = run(network(), tmp_path / "stopped")
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)


def test_the_average_is_there_inside_the_block_and_the_weights_after_it(tmp_path: Path) -> None:
    def seen(schedule: Schedule) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        module, folder = network(), tmp_path / f"{schedule.ema}-{schedule.steps}"

        def loss_at(step: int) -> Tensor:
            loss: Tensor = module(torch.randn((8, 4), generator=generator(0, step))).square().mean()
            return loss

        def weights() -> list[Tensor]:
            return [parameter.detach().clone() for parameter in module.parameters()]

        for tick in optimise(module, loss_at, schedule, folder):
            before = weights()
            with tick.averaged():
                inside = weights()
            assert all(map(torch.equal, before, weights()))
        return before, inside, weights()

    before, inside, at_the_end = seen(SCHEDULE)
    assert all(map(torch.equal, inside, at_the_end))
    assert not any(map(torch.equal, inside, before))
    before, inside, at_the_end = seen(replace(SCHEDULE, ema=0.0))
    assert all(map(torch.equal, inside, before))
    assert all(map(torch.equal, at_the_end, before))


def test_fewer_steps_than_taken_are_refused(tmp_path: Path) -> None:
    run(network(), tmp_path)
    with pytest.raises(UserError, match="already taken 12 steps"):
        run(network(), tmp_path, schedule=Schedule(steps=6, batch_size=8, learning_rate=1e-2))


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    run(network(), tmp_path)
    (tmp_path / "state.pt").write_bytes(b"nonsense")
    with pytest.raises(UserError, match=r"state\.pt is damaged"):
        run(network(), tmp_path)


def test_rate_warms_up_stays_and_falls() -> None:
    schedule = Schedule(steps=1000, batch_size=1, learning_rate=1.0)
    rates = [schedule.rate(step) for step in range(1000)]
    assert rates[0] < 0.05
    assert rates[150:700] == [1.0] * 550
    assert rates[-1] < 0.01
    assert all(later <= earlier for earlier, later in pairwise(rates[700:]))
