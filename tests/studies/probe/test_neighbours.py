"""Precision and coverage: their definitions, by brute force, and what they must say of generated images that are known."""

from __future__ import annotations

import pytest
import torch

from actgen.studies.probe.neighbours import coverage, density, precision, radii


def cloud(count: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(seed)) + shift


@pytest.mark.parametrize("k", [1, 3, 5])
def test_they_are_what_their_definitions_say(k: int) -> None:
    real, generated = cloud(30, 0), cloud(20, 1, 0.5)
    apart = [[float(torch.dist(one, other)) for other in real] for one in real]
    radius = [sorted(row[:i] + row[i + 1 :])[k - 1] for i, row in enumerate(apart)]
    near = [[float(torch.dist(one, other)) <= radius[i] for other in generated] for i, one in enumerate(real)]
    torch.testing.assert_close(radii(real, k), torch.tensor(radius), atol=1e-3, rtol=0)
    assert coverage(real, generated, k) == pytest.approx(sum(map(any, near)) / 30)
    assert precision(real, generated, k) == pytest.approx(sum(map(any, zip(*near, strict=True))) / 20)
    assert density(real, generated, k) == pytest.approx(sum(map(sum, near)) / (k * 20))


def test_images_that_are_real_are_precise_and_far_ones_are_not() -> None:
    real = cloud(200, 0)
    assert precision(real, real) == coverage(real, real) == 1.0
    assert precision(real, cloud(200, 1, 100.0)) == coverage(real, cloud(200, 1, 100.0)) == 0.0


def test_one_real_image_far_from_the_others_makes_precision_content_and_density_not() -> None:
    real, far = torch.cat([cloud(200, 0), torch.full((1, 6), 30.0)]), cloud(100, 1, 15.0)
    assert precision(real, far) == 1.0
    assert density(real, far) == pytest.approx(1 / 5)
    assert density(real, cloud(200, 2)) == pytest.approx(1, abs=0.15)


def test_drawing_one_image_again_and_again_is_precise_and_covers_little() -> None:
    real = cloud(200, 0)
    assert precision(real, real[:1].repeat(200, 1)) == 1.0
    assert coverage(real, real[:1].repeat(200, 1)) < 0.1


def test_of_few_real_images_the_ball_reaches_the_farthest() -> None:
    real = torch.tensor([[0.0], [1.0], [3.0]])
    assert radii(real, 5).tolist() == [3.0, 2.0, 3.0]
