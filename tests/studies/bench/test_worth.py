"""What a gain is worth in real images: known points, and what every curve must obey."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from actgen.studies.bench.clusters import Resampled
from actgen.studies.bench.worth import images_for, more_real, worth


def resampled(mean: float, spread: float = 0.1, seed: int = 0) -> Resampled:
    return Resampled(mean, mean + spread * np.random.default_rng(seed).standard_normal(1000), 15)


CURVE = {150: resampled(1.0, seed=1), 500: resampled(2.0, seed=2)}


def test_points_of_the_curve_are_worth_themselves_and_between_them_it_is_straight() -> None:
    heights = np.array([[0.0] * 5, [1.0] * 5, [2.0] * 5])
    assert images_for(np.array([0.0, 0.5, 1.0, 1.5, 2.0]), [0, 150, 500], heights).tolist() == [0, 75, 150, 325, 500]


def test_outside_of_the_curve_it_says_so() -> None:
    found = images_for(np.array([-0.1, 2.1]), [0, 150], np.array([[0.0, 0.0], [2.0, 2.0]]))
    assert found.tolist() == [-math.inf, math.inf]
    assert str(worth(resampled(-3.0), CURVE)) == "less than 0 (less than 0 to less than 0)"
    assert str(worth(resampled(9.0), CURVE)) == "more than 500 (more than 500 to more than 500)"


def test_where_more_images_did_not_help_the_fewest_count() -> None:
    assert images_for(np.array([1.0]), [0, 10, 20, 30], np.array([[0.0], [1.0], [0.5], [2.0]])).tolist() == [10]


def test_a_larger_gain_is_worth_more_and_the_interval_holds_the_value() -> None:
    found = [worth(resampled(gain), CURVE) for gain in (0.2, 0.6, 1.0, 1.4, 1.8)]
    assert all(one.low <= one.value <= one.high for one in found)
    for less, more in pairwise(found):
        assert (less.low, less.value, less.high) < (more.low, more.value, more.high)


def test_an_interval_without_an_end_says_which() -> None:
    assert str(worth(resampled(0.05), CURVE)).startswith("8 (less than 0 to ")
    assert worth(resampled(1.0), CURVE).value == pytest.approx(150)


def test_the_arms_of_the_curve() -> None:
    assert [more_real(arm) for arm in ("more-real-150", "more-real:20", "more-real-0", "more-real", "none")] == [
        150,
        20,
        None,
        None,
        None,
    ]
