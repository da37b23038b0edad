"""Precision, density, coverage: do generated images lie where real images do, and the other way? By nearest neighbours."""

from __future__ import annotations

import torch
from torch import Tensor

PRECISION_NEIGHBOURS, COVERAGE_NEIGHBOURS = 3, 5  # as published
_ROWS = 1000  # of a table of distances at a time


def radii(real_ND: Tensor, neighbours: int) -> Tensor:
    """Return the distance of each real image to its k-th nearest other one, [N]; of fewer than k others, to the farthest."""
    k = min(neighbours, len(real_ND) - 1) + 1  # the nearest is the image itself
    return torch.cat([torch.cdist(rows, real_ND).kthvalue(k, dim=1).values for rows in real_ND.split(_ROWS)])


def covered(real_ND: Tensor, generated_MD: Tensor, neighbours: int = COVERAGE_NEIGHBOURS) -> Tensor:
    """Return [N]: whether the ball of a real image, to its k-th nearest other one, holds a generated image."""
    nearest = torch.cat([torch.cdist(rows, generated_MD).amin(dim=1) for rows in real_ND.split(_ROWS)])
    return nearest <= radii(real_ND, neighbours)


def precise(real_ND: Tensor, generated_MD: Tensor, neighbours: int = PRECISION_NEIGHBOURS) -> Tensor:
    """Return [M]: whether a generated image is in the ball of some real image."""
    radius_N = radii(real_ND, neighbours)
    return torch.cat([(torch.cdist(rows, real_ND) <= radius_N).any(dim=1) for rows in generated_MD.split(_ROWS)])


def density(real_ND: Tensor, generated_MD: Tensor, neighbours: int = COVERAGE_NEIGHBOURS) -> float:
    """Return the density (Naeem et al. 2020, eq. 6): how many balls of real images hold a generated one, by `neighbours`.

    About 1 for real images, and more where generated images crowd together. Unlike precision it is not content with the one
    large ball of a real image that is far from the others.
    """
    radius_N = radii(real_ND, neighbours)
    holding = [int((torch.cdist(rows, real_ND) <= radius_N).sum()) for rows in generated_MD.split(_ROWS)]
    return sum(holding) / (neighbours * len(generated_MD))


def coverage(real_ND: Tensor, generated_MD: Tensor, neighbours: int = COVERAGE_NEIGHBOURS) -> float:
    """Return the coverage (Naeem et al. 2020, eq. 7) of real features by generated ones, in [0, 1]."""
    return float(covered(real_ND, generated_MD, neighbours).double().mean())


def precision(real_ND: Tensor, generated_MD: Tensor, neighbours: int = PRECISION_NEIGHBOURS) -> float:
    """Return the precision (Kynkäänniemi et al. 2019, eq. 2) of generated features among real ones, in [0, 1]."""
    return float(precise(real_ND, generated_MD, neighbours).double().mean())
