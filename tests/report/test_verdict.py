"""Laws of the verdict: a gain and an equal loss mirror each other, and nothing is claimed that the numbers do not say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from actgen.classifiers.correctness import pack_right
from actgen.report.chance import at_chance
from actgen.report.mcnemar import one_seed
from actgen.report.reading import read_arms
from actgen.report.verdict import MeasuredGain
from actgen.report.words import headline, next_command, remarks, verdict
from tests.support.report_folders import change_summary, make_demo, make_run


def mirrored(text: str) -> str:
    """Return a sentence with signs, verdict and the ends of its interval turned round."""
    swap = str.maketrans({"+": "−", "−": "+"})
    text = text.translate(swap).replace("Helped", "HARMED").replace("Harmed", "Helped").replace("HARMED", "Harmed")
    low, _, rest = text.partition(" to ")
    start, _, first = low.rpartition(" ")
    last, comma, end = rest.partition(",")
    return f"{start} {last} to {first}{comma}{end}"


@given(st.floats(0.1, 30), st.floats(0.01, 40))
def test_a_gain_and_an_equal_loss_are_said_in_mirror_image(gain: float, reach: float) -> None:
    up = MeasuredGain(gain=gain, interval=(gain - reach, gain + reach), regime="5 seeds")
    down = replace(up, gain=-gain, interval=(-gain - reach, -gain + reach))
    assert mirrored(up.said("actgen")) == down.said("actgen")
    assert {up.word, down.word} in ({"helped", "harmed"}, {"cannot tell"})


def test_a_number_without_an_interval_tells_nothing() -> None:
    assert MeasuredGain(gain=9.0, interval=None, regime="one seed").said("actgen") == (
        "Cannot tell: actgen +9.00 points against real only (no interval, one seed)"
    )


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 400))
def test_one_seed_is_mcnemars_test(gained: int, lost: int, same: int) -> None:
    ours = np.array([True] * gained + [False] * lost + [True] * same)
    theirs = np.array([False] * gained + [True] * lost + [True] * same)
    found, other = one_seed(ours, theirs, "test"), one_seed(theirs, ours, "test")
    assert found.gain == pytest.approx(100 * (gained - lost) / len(ours)) == -other.gain
    expected = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert found.p == pytest.approx(expected) == other.p
    assert found.interval is not None
    assert other.interval == pytest.approx(tuple(-end for end in reversed(found.interval)))
    if found.word != "cannot tell":
        assert expected <= 0.05


def test_ninety_five_of_a_hundred_intervals_hold_the_truth() -> None:
    rng, held = np.random.default_rng(0), 0
    for _ in range(400):
        first = rng.choice(4, 1000, p=(0.7, 0.08, 0.04, 0.18))  # both, ours alone, theirs alone, neither
        interval = one_seed(np.isin(first, (0, 1)), np.isin(first, (0, 2)), "test").interval
        assert interval is not None
        held += interval[0] <= 4.0 <= interval[1]
    assert 0.925 <= held / 400 <= 0.98


@pytest.mark.parametrize(("gained", "word"), [(60, "Helped"), (10, "Cannot tell"), (0, "Harmed")])
def test_a_run_with_its_baseline_says_whether_it_helped(tmp_path: Path, gained: int, word: str) -> None:
    run = make_run(tmp_path / "run", samples=4)
    base = make_run(run / "baseline", "none", samples=0)
    theirs = np.array([False] * gained + [True] * 10 + [True] * 500)
    ours = np.array([True] * gained + [False] * 10 + [True] * 500)
    change_summary(run, right=pack_right(ours))
    change_summary(base, right=pack_right(theirs))
    arms = read_arms(run)
    assert [arm.name for arm in arms] == ["none", "actgen"]
    assert headline(arms).startswith(f"{word}: actgen ")
    assert f"{len(ours)} test images, McNemar" in headline(arms)
    assert "actgen bench" in next_command(arms)[1]


def test_without_a_baseline_the_next_command_is_to_make_one(tmp_path: Path) -> None:
    arms = read_arms(make_run(tmp_path / "a run", samples=0))
    assert headline(arms) == "Cannot tell: actgen reached 84.1% on the test images, nothing to compare it with"
    folder = tmp_path / "a run"
    assert next_command(arms)[1] == f"actgen train --recipe '{folder}/recipe.toml' --out '{folder}' --baseline"


def test_a_validation_run_shows_its_accuracy_under_its_name(tmp_path: Path) -> None:
    demo = make_demo(tmp_path / "demo", measured="validation")
    arms = read_arms(demo)
    assert {arm.summary.measured for arm in arms} == {"validation"}
    assert [arm.summary.accuracy for arm in arms] == [83.5, 83.9, 84.1]
    assert any("84.1% on the validation images" in remark for remark in remarks(arms))
    assert verdict(arms) == MeasuredGain(gain=0.6, interval=None, regime="one seed")


def test_accuracies_of_different_images_are_not_compared(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", samples=0)
    make_run(run / "baseline", "none", samples=0, measured="validation")
    assert verdict(read_arms(run)) is None
    assert headline(read_arms(run)).endswith("real only was not measured on these images")


def test_a_run_at_chance_says_so(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", end=17.0, samples=0)  # of six classes
    assert any(remark.startswith("actgen: At chance: 17.0%") for remark in remarks(read_arms(run)))
    assert not any("At chance" in remark for remark in remarks(read_arms(make_run(tmp_path / "other", samples=0))))


@given(st.integers(2, 1000), st.integers(10, 100_000))
def test_guessing_is_at_chance_and_knowing_is_not(classes: int, images: int) -> None:
    assert at_chance(100 / classes, classes, images)
    assert not at_chance(100.0, classes, images) or images < 4 * classes


def test_a_run_that_goes_on_says_so(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", samples=0)
    (run / "summary.json").unlink()
    (view,) = arms = read_arms(run)
    assert not view.finished
    assert headline(arms).startswith("Running: ")
    assert "--baseline" not in next_command(arms)[1]
