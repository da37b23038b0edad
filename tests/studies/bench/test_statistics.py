"""Intervals and numbers of seeds: known values, laws, and that they keep what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from actgen.studies.bench.statistics import Interval, bootstrap_interval, holm, power, seeds_needed, sign_flip_p, t_interval

DIFFERENCES = (0.43, -0.12, 0.91, 0.30, 0.58)


def test_the_t_interval_of_a_textbook() -> None:
    """Student's (1908) own data: hours of sleep gained, dextro- against laevo-hyoscyamine; 95% interval 0.70 to 2.46."""
    sleep = (1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4)
    found = t_interval(sleep)
    assert found is not None
    assert (found.mean, found.low, found.high) == pytest.approx((1.58, 0.7001, 2.4599), abs=1e-4)


def test_the_t_interval_is_that_of_a_paired_t_test() -> None:
    real = np.array([87.0, 86.2, 87.9, 86.6, 87.1])
    expected = stats.ttest_rel(real + DIFFERENCES, real).confidence_interval(0.95)
    found = t_interval(DIFFERENCES)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("interval", [t_interval, bootstrap_interval])
def test_one_seed_has_no_interval(interval: type) -> None:
    assert interval([0.5]) is None
    assert interval([]) is None


def test_equal_differences_have_an_interval_of_no_length() -> None:
    assert t_interval([0.5, 0.5, 0.5]) == bootstrap_interval([0.5, 0.5, 0.5]) == Interval(0.5, 0.5, 0.5)


def test_the_bootstrap_repeats_and_moves_with_its_data() -> None:
    found, again = bootstrap_interval(DIFFERENCES), bootstrap_interval(DIFFERENCES)
    moved = bootstrap_interval([value + 1 for value in DIFFERENCES])
    assert found == again
    assert found is not None
    assert moved is not None
    assert min(DIFFERENCES) <= found.low < found.mean < found.high <= max(DIFFERENCES)
    assert (moved.low, moved.high) == pytest.approx((found.low + 1, found.high + 1), abs=0.05)  # ties are rounded otherwise


def test_the_t_interval_covers_what_it_promises() -> None:
    rng = np.random.default_rng(0)
    found = [t_interval(rng.normal(0.3, 0.5, 5).tolist()) for _ in range(2000)]
    covered = sum(each.low <= 0.3 <= each.high for each in found if each) / len(found)
    assert covered == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(("effect", "seeds"), [(1.0, 10), (0.5, 34), (0.2, 199)])
def test_the_seeds_of_the_tables(effect: float, seeds: int) -> None:
    """Paired t test, two-sided 5%, power 80%: the sample sizes that tables (Cohen 1988) and G*Power give."""
    spread = (-1 / math.sqrt(2), 1 / math.sqrt(2))  # standard deviation 1
    assert seeds_needed(spread, effect) == seeds
    assert power(effect, 1.0, seeds) >= 0.8 > power(effect, 1.0, seeds - 1)


def test_power_is_what_a_simulation_sees() -> None:
    rng = np.random.default_rng(1)
    pairs = rng.normal(0.5, 0.5, (4000, 8))
    seen = float((stats.ttest_1samp(pairs, 0, axis=1).pvalue < 0.05).mean())
    assert power(0.5, 0.5, 8) == pytest.approx(seen, abs=0.02)


def test_seeds_that_cannot_be_told() -> None:
    assert seeds_needed([0.5]) is None
    assert seeds_needed([0.5, 0.5]) == 2
    assert seeds_needed([-1000.0, 1000.0]) is None


def test_holm_against_a_table_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.7, 0.9]) == [1.0, 1.0]


def test_holm_keeps_the_order_and_lies_between_the_p_value_and_bonferroni() -> None:
    p_values = np.random.default_rng(5).random(30).tolist()
    adjusted = holm(p_values)
    assert all(p <= q <= min(1.0, 30 * p) + 1e-12 for p, q in zip(p_values, adjusted, strict=True))
    assert [q for _, q in sorted(zip(p_values, adjusted, strict=True))] == sorted(adjusted)


def test_the_sign_flip_test_by_hand() -> None:
    assert sign_flip_p([1.0, 2.0, 3.0]) == 2 / 8  # only all plus and all minus reach 6
    assert sign_flip_p([0.5] * 16) == 2 / 2**16
    assert sign_flip_p([1.0, -1.0]) == sign_flip_p([]) == sign_flip_p([0.0, 0.0]) == 1.0


def test_the_sign_flip_test_is_blind_to_sign_order_and_unit() -> None:
    found = sign_flip_p(DIFFERENCES)
    assert sign_flip_p([-value for value in DIFFERENCES]) == sign_flip_p(DIFFERENCES[::-1]) == found
    assert sign_flip_p([100 * value for value in DIFFERENCES]) == found


def test_lots_say_what_all_signs_say() -> None:
    rng = np.random.default_rng(6)
    exact, many = rng.normal(0.3, 0.5, 16), rng.normal(0.2, 0.5, 17)
    assert sign_flip_p(many.tolist()) == pytest.approx(stats.ttest_1samp(many, 0).pvalue, abs=0.05)
    assert sign_flip_p([*exact, 0.0]) == pytest.approx(sign_flip_p(exact.tolist()), abs=0.005)


def test_the_sign_flip_test_rejects_no_more_than_it_says() -> None:
    rng = np.random.default_rng(7)
    found = [sign_flip_p(rng.normal(0, 0.5, 8).tolist()) for _ in range(1000)]
    assert sum(p <= 0.05 for p in found) / 1000 <= 0.07
