"""Laws of the loop on a model of one layer: it continues as if never stopped, and every epoch has its share of the schedule."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from actgen.core.errors import UserError
from actgen.training.budget import ImageBudget
from actgen.training.loop import fit
from tests.support.one_layer import OPTIONS, grown, opened, pictures, weights


def test_a_model_that_draws_for_itself_continues_as_if_never_stopped(tmp_path: Path) -> None:
    whole = opened(tmp_path / "whole")
    assert len(list(fit(whole))) == 3
    next(iter(fit(opened(tmp_path / "stopped"))))
    torch.manual_seed(99)
    continued = opened(tmp_path / "stopped")
    assert [stats.epoch for stats in fit(continued)] == [1, 2]
    assert torch.equal(weights(continued), weights(whole))


def test_global_randomness_is_left_as_found(tmp_path: Path) -> None:
    state = torch.get_rng_state()
    list(fit(opened(tmp_path)))
    assert torch.equal(torch.get_rng_state(), state)


def test_grown_epochs_do_not_use_up_the_schedule(tmp_path: Path) -> None:
    training = opened(tmp_path, replace(OPTIONS, epoch_length="grow", warmup=0.0))
    training.state.snapshot = grown(tmp_path / "store")
    rows = list(fit(training))
    assert [row.optimizer_steps for row in rows] == [6, 12, 18]
    rates = [row.learning_rate for row in rows]
    assert rates[0] > rates[1] > 0.2 * OPTIONS.learning_rate  # where the last epoch starts
    assert 0 < rates[2] < 0.02 * OPTIONS.learning_rate


def test_other_images_are_refused_at_the_continuation(tmp_path: Path) -> None:
    next(iter(fit(opened(tmp_path))))
    with pytest.raises(UserError, match="training images changed since"):
        next(iter(fit(opened(tmp_path, real=pictures(shift=1)))))
    assert len(list(fit(opened(tmp_path)))) == 2


def test_sets_that_are_too_large_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = list(fit(opened(tmp_path / "kept")))
    monkeypatch.setattr("actgen.training.training.CACHE_BYTES", 6 * 3 * 8 * 8 - 1)
    training = opened(tmp_path / "lazy")
    lazy = list(fit(training))
    assert training.cached("test", pictures(6)) is None
    assert training.mixture(0).cache is None
    assert [row.test_accuracy for row in lazy] == [row.test_accuracy for row in kept]
    assert [row.train_loss for row in lazy] == [row.train_loss for row in kept]


def test_the_cache_is_not_copied_when_no_image_is_away(tmp_path: Path) -> None:
    training = opened(tmp_path)
    assert training.mixture(0).cache is training.mixture(1).cache is not None


def test_a_round_never_owes_less_than_nothing(tmp_path: Path) -> None:
    training = opened(tmp_path)
    training.budget = ImageBudget(total=40, epochs=4)
    assert training.budget.per_epoch == [20, 20]
    assert training.owed(1) == 40
    training.state.snapshot = grown(tmp_path / "store")
    assert (training.owed(0), training.owed(1)) == (0, 8)
