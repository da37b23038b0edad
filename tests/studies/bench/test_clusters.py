"""Intervals over label sets and test images: that they cover what they promise, and do not hang on what means nothing."""

from __future__ import annotations

import time

import numpy as np
import pytest

from actgen.studies.bench.clusters import Numbers, resample, variance


def generated(rng: np.random.Generator, sets: int, images: int, spread: tuple[float, float, float]) -> Numbers:
    """Return a table of effects of sets, of images, and of cells, with mean 0.3."""
    of_sets, of_images, of_cells = spread
    return np.asarray(
        0.3
        + rng.normal(0, of_sets, (sets, 1))
        + rng.normal(0, of_images, (1, images))
        + rng.normal(0, of_cells, (sets, images))
    )


@pytest.mark.parametrize("spread", [(0.3, 0.0, 0.3), (0.3, 1.5, 0.3), (0.1, 1.5, 1.0), (0.0, 0.0, 1.0)])
def test_it_covers_what_it_promises(spread: tuple[float, float, float]) -> None:
    """At least nearly 95% whichever part spreads, and where the label sets are what spreads, hardly more."""
    rng = np.random.default_rng(0)
    found = [resample(generated(rng, 10, 60, spread), 400) for _ in range(400)]
    intervals = [each.interval() for each in found if each is not None]
    covered = sum(one.low <= 0.3 <= one.high for one in intervals) / len(intervals)
    assert covered >= 0.92
    if spread == (0.3, 0.0, 0.3):
        assert covered <= 0.985


def test_the_variance_is_that_of_simulated_tables() -> None:
    rng, spread = np.random.default_rng(1), (0.3, 1.5, 0.5)
    tables = [generated(rng, 10, 60, spread) for _ in range(1500)]
    assert np.mean([variance(table) for table in tables]) == pytest.approx(np.var([t.mean() for t in tables]), rel=0.1)


def test_shift_scale_and_order() -> None:
    rng = np.random.default_rng(2)
    table = generated(rng, 8, 50, (0.3, 0.5, 0.5))
    found, moved, doubled = resample(table), resample(table + 1), resample(2 * table)
    turned = resample(table[::-1, ::-1])
    assert found is not None
    assert moved is not None
    assert doubled is not None
    assert turned is not None
    one, other, twice, back = (each.interval() for each in (found, moved, doubled, turned))
    assert (other.low, other.high) == pytest.approx((one.low + 1, one.high + 1), abs=1e-4)
    assert (twice.low, twice.high) == pytest.approx((2 * one.low, 2 * one.high), rel=1e-4)
    assert (back.low, back.high) == pytest.approx((one.low, one.high), abs=0.1 * (one.high - one.low))


def test_a_surer_interval_is_wider_and_more_label_sets_make_it_narrower() -> None:
    table = generated(np.random.default_rng(3), 8, 50, (0.3, 0.5, 0.5))
    found, more = resample(table), resample(np.concatenate([table] * 4))
    assert found is not None
    assert more is not None
    narrow, usual, wide = (found.interval(level) for level in (0.8, 0.95, 0.99))
    assert wide.low < usual.low < narrow.low < narrow.high < usual.high < wide.high
    assert more.interval().high - more.interval().low < usual.high - usual.low


def test_where_nothing_differs_the_interval_has_no_length() -> None:
    found = resample(np.full((4, 9), 0.5))
    assert found is not None
    assert (found.interval().low, found.interval().high) == (0.5, 0.5)


@pytest.mark.parametrize("shape", [(1, 100), (5, 1), (1, 1)])
def test_of_one_row_or_column_nothing_is_known(shape: tuple[int, int]) -> None:
    assert resample(np.zeros(shape)) is None


def test_the_usual_size_takes_seconds() -> None:
    began = time.perf_counter()
    assert resample(np.random.default_rng(4).integers(-1, 2, (16, 5000)).astype(np.float64)) is not None
    assert time.perf_counter() - began < 10
