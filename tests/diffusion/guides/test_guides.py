"""Laws of the pure parts of guidance."""

from __future__ import annotations

import math

import pytest
import torch

from actgen.diffusion.guides import losses
from actgen.diffusion.guides.bank import MemoryBank
from actgen.diffusion.guides.image import ImageGuidance, unit_range
from actgen.diffusion.guides.text import normalise


def test_gamma_means_the_same_for_another_number_of_steps() -> None:
    options = ImageGuidance()
    for index in range(20):
        assert math.isclose(options.gamma(index, 20), options.gamma(2 * index, 40))
    assert options.gamma(0, 40) > 0.99 > 0.02 > options.gamma(17, 40)


def test_gamma_by_step_index() -> None:
    options = ImageGuidance(reference_steps=0)
    assert options.gamma(12, 16) == options.gamma(12, 1000)


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
