"""The Frechet distance equals that of torch-fidelity and of the textbook formula, and follows a known shift."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from actgen.studies.probe.frechet import frechet, normal, resampled
from actgen.studies.probe.noise import difference_interval


def cloud(count: int, seed: int, wide: int = 8) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(count, wide, generator=rng) @ torch.randn(wide, wide, generator=torch.Generator().manual_seed(9))


def test_it_is_the_textbook_formula() -> None:
    real, generated = cloud(300, 0), cloud(100, 1) + 0.3
    one, other = (np.cov(each.double().numpy(), rowvar=False) for each in (real, generated))
    apart = float(((real.double().mean(0) - generated.double().mean(0)) ** 2).sum())
    expected = apart + np.trace(one) + np.trace(other) - 2 * np.trace(sqrtm(one @ other)).real
    assert frechet(normal(real), generated) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("count", [200, 20])  # 20 images of 32 features: a covariance without an inverse
def test_it_is_what_torch_fidelity_says(count: int) -> None:
    fid = pytest.importorskip("torch_fidelity.metric_fid")
    real, generated = cloud(400, 0, 32).double(), cloud(count, 1, 32).double()
    expected = fid.fid_statistics_to_metric(
        fid.fid_features_to_statistics(generated), fid.fid_features_to_statistics(real), verbose=False
    )
    assert frechet(normal(real), generated) == pytest.approx(expected["frechet_inception_distance"], rel=1e-5)


def test_the_same_images_are_at_no_distance_and_a_shift_is_its_square() -> None:
    real = cloud(500, 0)
    assert frechet(normal(real), real) == pytest.approx(0, abs=1e-9)
    assert frechet(normal(real), real + 2.0) == pytest.approx(8 * 4.0, rel=1e-6)


def test_paired_resamples_tell_a_small_shift_from_none() -> None:
    real, generated = cloud(500, 0), cloud(200, 1)
    labels = [k % 2 for k in range(200)]
    here, there = (resampled(normal(real), each, labels) for each in (generated, generated + 0.5))
    assert here == resampled(normal(real), generated, labels)
    assert difference_interval(there, here).low > 0
    assert difference_interval(here, resampled(normal(real), cloud(200, 2), labels)).low < 0


def test_resamples_keep_the_classes_balanced() -> None:
    """Two classes that are points, far apart: only their shares could move the distance."""
    generated = torch.tensor([[0.0, 0.0], [100.0, 0.0]]).repeat(50, 1)
    found = resampled(normal(generated + cloud(100, 0, 2)), generated, [0, 1] * 50)
    assert max(found) - min(found) < 1e-6
