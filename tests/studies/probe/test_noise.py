"""Intervals: they hold the truth about as often as they promise, and know chance where the bootstrap knows none."""

from __future__ import annotations

import numpy as np
import pytest

from actgen.studies.probe.noise import paired_interval, share_interval


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_they_hold_the_truth_about_as_often_as_promised(share: float) -> None:
    rng = np.random.default_rng(0)
    found = [share_interval((rng.random(200) < share).tolist()) for _ in range(400)]
    assert 0.91 < np.mean([one.low <= 100 * share <= one.high for one in found]) < 0.985


@pytest.mark.parametrize("hit", [True, False])
def test_all_alike_is_not_certain(hit: bool) -> None:
    interval = share_interval([hit] * 50)
    assert interval.mean == 100 * hit
    assert 5 < interval.high - interval.low < 10


def test_pairs_tell_more_than_two_shares() -> None:
    base = [k % 10 < 6 for k in range(200)]
    worse = [hit and k % 10 != 0 for k, hit in enumerate(base)]
    one, other, pair = share_interval(base), share_interval(worse), paired_interval(base, worse)
    assert one.low < other.high  # apart they overlap
    assert pair.mean == pytest.approx(10)
    assert pair.low > 5
    assert paired_interval(base, base) == paired_interval(worse, worse)
    assert paired_interval(base, base).high == 0
