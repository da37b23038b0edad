"""The Frechet distance of two sets of features, each taken as a normal distribution (Heusel et al. 2017, eq. 6)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

RESAMPLED = 100
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Normal:
    """The normal distribution of some features: mean [D], square root [D, D] and trace of the covariance."""

    mean: Array
    root: Array
    trace: float


def normal(features_ND: Tensor) -> Normal:
    """Return the distribution of two features or more."""
    rows = features_ND.double().numpy()
    covariance = np.atleast_2d(np.cov(rows, rowvar=False))
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    return Normal(rows.mean(axis=0), root, float(np.trace(covariance)))


def frechet(real: Normal, generated_MD: Tensor) -> float:
    """Return the squared Frechet distance of generated features to real ones. Biased upwards where M is small."""
    return _distance(real, generated_MD.double().numpy())


def resampled(real: Normal, generated_MD: Tensor, labels: Sequence[int], times: int = RESAMPLED) -> tuple[float, ...]:
    """Return the distances of `times` bootstrap samples of the drawn features, each with as many of every class as were
    generated.

    The k-th of one generator goes with the k-th of another: both take the same places, so equal seeds stay paired.
    """
    rows, rng = generated_MD.double().numpy(), np.random.default_rng(0)
    members = [np.flatnonzero(np.asarray(labels) == label) for label in sorted(set(labels))]

    def sample() -> Array:
        picked: Array = rows[np.concatenate([some[rng.integers(len(some), size=len(some))] for some in members])]
        return picked

    return tuple(_distance(real, sample()) for _ in range(times))


def _distance(real: Normal, rows: Array) -> float:
    """|a - b|^2 + tr A + tr B - 2 tr (B^1/2 A B^1/2)^1/2.

    With A = X'X the last trace is the sum of the singular values of X B^1/2: no root of a product of matrices, which loses
    digits where the covariance is singular, as it is for fewer images than features.
    """
    mean = rows.mean(axis=0)
    centred = (rows - mean) / math.sqrt(len(rows) - 1)
    shared = float(np.linalg.svd(centred @ real.root, compute_uv=False).sum())
    apart = float(((mean - real.mean) ** 2).sum())
    return max(0.0, apart + float((centred**2).sum()) + real.trace - 2 * shared)
