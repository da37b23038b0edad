"""Laws of the pure parts of guidance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch

from actgen.core.errors import UserError
from actgen.diffusion.guides import losses
from actgen.diffusion.guides.bank import MemoryBank
from actgen.diffusion.guides.image import ImageGuidance, unit_range
from actgen.diffusion.guides.position import STABLE_DIFFUSION, reference_position
from actgen.diffusion.guides.text import TextGuidance, normalise, relative
from actgen.diffusion.solver import Solver
from actgen.diffusion.solvers import NAMES, make_solver


def walk_of(steps: int, scheduler: str = "ddim", config: Mapping[str, Any] = STABLE_DIFFUSION) -> Solver:
    return make_solver({**config, "steps_offset": 1}, steps, scheduler=scheduler)


def test_gamma_means_the_same_for_another_number_of_steps() -> None:
    options, short, long = ImageGuidance(), walk_of(20), walk_of(40)
    for index in range(20):
        assert math.isclose(options.gamma(index, short), options.gamma(2 * index, long))
    assert options.gamma(0, long) > 0.99 > 0.02 > options.gamma(17, long)


def test_gamma_by_step_index() -> None:
    options = ImageGuidance(reference_steps=0)
    assert options.gamma(12, walk_of(16)) == options.gamma(12, walk_of(900))


def test_by_noise_the_reference_is_where_its_steps_are() -> None:
    by_noise, by_steps, reference = ImageGuidance(position="noise"), ImageGuidance(), walk_of(40)
    for index in range(40):
        assert by_noise.gamma(index, reference) == pytest.approx(by_steps.gamma(index, reference), abs=1e-6)


def test_by_noise_gamma_is_half_where_noise_is_2_89_of_the_signal() -> None:
    assert reference_position(1 / (1 + 2.89**2)) == pytest.approx(12.5, abs=0.01)


def test_places_fall_with_the_signal_and_end_with_the_reference() -> None:
    places = [reference_position(n / 1000) for n in range(1001)]
    assert places == sorted(places)
    assert (places[0], places[-1]) == (0.0, 39.0)


@pytest.mark.parametrize("scheduler", NAMES)
@pytest.mark.parametrize("schedule", [{}, {"beta_schedule": "squaredcos_cap_v2"}, {"rescale_betas_zero_snr": True}], ids=str)
def test_by_noise_gamma_is_the_same_function_of_the_level_everywhere(scheduler: str, schedule: dict[str, Any]) -> None:
    options, sd = ImageGuidance(position="noise"), walk_of(100)
    solver = walk_of(8, scheduler, {"prediction_type": "v_prediction", **schedule})
    for index in range(len(solver)):
        level = float(solver.signal[index]) ** 2
        near = int((sd.signal**2 - level).abs().argmin())
        if abs(float(sd.signal[near]) ** 2 - level) < 1e-3:
            assert options.gamma(index, solver) == pytest.approx(options.gamma(near, sd), abs=0.05)


def test_contrastive_is_a_hinge_on_the_distance() -> None:
    points, labels = torch.zeros(3, 4), [0, 1, 2]
    far, near = torch.full((1, 4), 10.0), torch.full((1, 4), 1.0)
    loss = losses.contrastive(points, labels, {0: far, 1: near}, margin=5.0)
    torch.testing.assert_close(loss, torch.tensor([0.0, 3.0, 0.0]))


def test_contrastive_gradient_is_finite_where_latents_meet() -> None:
    x0 = torch.zeros(1, 4, requires_grad=True)
    losses.contrastive(x0, [3], {3: torch.zeros(1, 4)}, 5.0).sum().backward()
    assert x0.grad is not None
    assert bool(torch.isfinite(x0.grad).all())


def test_margin_follows_the_latent_size() -> None:
    assert losses.scaled_margin(200.0, 4 * 64 * 64) == 200.0
    assert losses.scaled_margin(200.0, 4 * 8 * 8) == 25.0


@pytest.mark.parametrize("norm", ["image", "token-columns"])
def test_normalised_gradient_has_unit_length_or_is_zero(norm: str) -> None:
    gradient = torch.randn((2, 3, 5, 4), generator=torch.Generator().manual_seed(0))
    gradient[:, 1] = 0.0
    out = normalise(gradient, norm, both_branches=True)
    lengths = out.square().sum(dim=2 if norm == "token-columns" else (0, 2, 3)).sqrt()
    assert bool((((lengths - 1).abs() < 1e-5) | (lengths == 0)).all())
    assert float(out[:, 1].abs().max()) == 0.0
    assert float(normalise(gradient, norm, both_branches=False)[0].abs().max()) == 0.0


def test_normalised_gradient_drops_what_is_not_finite() -> None:
    gradient = torch.tensor([float("nan"), float("inf"), 1.0]).view(1, 1, 3, 1).repeat(2, 1, 1, 1)
    assert bool(torch.isfinite(normalise(gradient, "image", both_branches=True)).all())


def test_a_relative_step_is_as_long_as_the_real_tokens_and_moves_nothing_else() -> None:
    rng = torch.Generator().manual_seed(0)
    gradient, text = (torch.randn((2, 3, 5, 4), generator=rng) for _ in range(2))
    gradient[:, 2] = 0.0
    gradient[1, 0, 0, 0] = float("nan")
    real = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]).bool()
    step = relative(gradient, text, real)
    assert float(step[0].abs().max()) == 0.0
    assert float(step[1][~real].abs().max()) == 0.0
    assert float(step[1, 2].abs().max()) == 0.0
    lengths, sizes = ((tensor[1] * real.unsqueeze(-1)).flatten(1).norm(dim=1) for tensor in (step, text))
    torch.testing.assert_close(lengths[:2], sizes[:2])
    along = (step[1, 1] * gradient[1, 1]).sum() / (lengths[1] * gradient[1, 1].norm())
    assert float(along) == pytest.approx(1.0, abs=1e-5)


def test_a_relative_step_ignores_the_length_of_the_gradient_and_follows_that_of_the_text() -> None:
    gradient, text = (torch.randn((1, 2, 5, 4), generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    torch.testing.assert_close(relative(1e-3 * gradient, text), relative(gradient, text))
    torch.testing.assert_close(relative(gradient, 3 * text), 3 * relative(gradient, text))


def test_a_relative_step_of_both_halves_is_refused() -> None:
    with pytest.raises(UserError, match="moves the conditional branch alone"):
        TextGuidance(both_branches=True)


def test_unit_range_of_a_flat_map_guides_everything() -> None:
    maps = torch.stack([torch.ones(1, 4, 4), torch.arange(16.0).view(1, 4, 4)])
    out = unit_range(maps)
    assert bool((out[0] == 1).all())
    assert (float(out[1].min()), float(out[1].max())) == (0.0, 1.0)


def test_bank_is_bounded_by_class_and_round_trips() -> None:
    bank = MemoryBank(capacity=2)
    for value in range(3):
        bank.add(7, torch.full((1, 1, 1), float(value)))
    assert bank.latents_of(7).flatten().tolist() == [1.0, 2.0]
    assert len(bank.latents_of(8)) == 0
    other = MemoryBank(capacity=2)
    other.load_state_dict(bank.state_dict())
    assert other.latents_of(7).flatten().tolist() == [1.0, 2.0]
    assert len(other) == 2
