"""The advice follows the numbers and says what is chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from actgen.studies.probe.measures import Measures, Trained
from actgen.studies.probe.noise import share_interval
from actgen.studies.probe.page import render
from actgen.studies.probe.parts import REAL
from actgen.studies.probe.sheet import draw_sheet
from actgen.studies.probe.table import cells, heads, markdown
from actgen.studies.probe.words import advise, remarks
from tests.support.pictures import fashion


def made(share: float, frechet: float, *, count: int = 200, spread: float = 0.2) -> Measures:
    """Return measures of which a share of the images, the first ones, was recognised."""
    hits = tuple(place < share * count for place in range(count))
    interval = share_interval(hits)
    return Measures(
        images=count,
        consistency=interval.mean,
        low=interval.low,
        high=interval.high,
        by_class={"coat": 100 * share},
        precision=0.9,
        density=1.0,
        coverage=0.8,
        frechet=frechet,
        frechet_resampled=tuple(frechet + spread * (k % 5 - 2) for k in range(100)),
        diversity=1.0,
        copies=0,
        nearest=0.5,
        nearest_pairs=(),
        seconds=0.1,
        keys=tuple(f"k{k}" for k in range(count)),
        right=hits,
    )


def trained(one: Measures, hits: Sequence[bool]) -> Measures:
    interval = share_interval(hits)
    return replace(one, trained=Trained(accuracy=interval.mean, low=interval.low, high=interval.high, right=tuple(hits)))


def test_one_that_is_clearly_more_consistent_is_advised() -> None:
    advice = advise({"a": made(0.6, 5.0), "b": made(0.9, 5.0), "c": made(0.5, 5.0)})
    assert advice.name == "b"
    assert "30.0 (24.0 to 36.5) points above a, the next: more than chance" in advice.reason


def test_of_level_ones_the_nearest_to_real_images_is_advised() -> None:
    advice = advise({"a": made(0.9, 9.0), "b": made(0.895, 3.0), "c": made(0.5, 1.0)})
    assert advice.name == "b"
    assert "cannot tell it from a; it has the smallest Frechet distance of them, 3.00 against 9.00 of a, more" in advice.reason
    assert "but c lies nearer to real images by Frechet distance" in advice.reason


def test_a_difference_that_may_be_chance_is_called_that() -> None:
    one, other = made(0.9, 3.0), replace(made(0.895, 3.1), frechet_resampled=tuple(3.1 + 0.5 * (k % 7 - 3) for k in range(100)))
    fast = replace(other, seconds=0.01)
    assert "may be chance; the fastest of them is b, 0.01 s an image" in advise({"a": one, "b": fast}).reason
    assert "nothing to compare it with" in advise({"a": one}).reason


def test_what_classifiers_learned_counts_more_than_how_it_looks() -> None:
    worse = trained(made(0.99, 1.0), [place % 10 < 5 for place in range(300)])
    better = trained(made(0.5, 9.0), [place % 10 < 7 for place in range(300)])
    advice = advise({"worse": worse, "better": better})
    assert advice.name == "better"
    assert advice.reason.startswith("accuracy of a classifier trained on it alone 70.0%")


def test_broken_drawings_do_not_shift_the_pairs() -> None:
    one = made(0.6, 5.0)
    half = replace(one, images=100, keys=one.keys[100:], right=one.right[100:], consistency=20.0)
    assert "cannot tell it from" in advise({"a": replace(one, consistency=19.0), "b": half}).reason


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"broken": 3}, "3 generated images were broken"),
        ({"copies": 9}, "9 of 200 generated images are near-copies of training images, of real images 1 of 200"),
        ({"diversity": 0.4}, "0.40 times as much"),
        ({"by_class": {"coat": 95.0, "bag": 20.0}}, "weakest class bag, recognised in 20%"),
    ],
)
def test_what_is_odd_about_a_candidate_is_said(change: dict[str, object], words: str) -> None:
    real, usual = replace(made(0.9, 1.0), copies=1), made(0.9, 3.0)
    plain = list(remarks({"a": usual}, real, given=False))
    assert plain == ["None of this is what a classifier gains from the generated images; --train estimates that."]
    (odd, last) = remarks({"a": replace(usual, **change)}, real, given=False)  # type: ignore[arg-type]
    assert words in odd
    assert last == plain[0]


def test_a_weak_judge_is_called_one() -> None:
    first, *_ = remarks({"a": made(0.9, 3.0)}, made(0.4, 1.0), given=False)
    assert "recognises only 40% of real images" in first
    first, *_ = remarks({"a": made(0.9, 3.0)}, made(0.9, 1.0), given=True)
    assert "was given" in first


def test_names_are_text_wherever_they_stand() -> None:
    name = "<script>alert(1)</script>|`x`"
    found = {REAL: made(0.9, 1.0), name: made(0.9, 2.0)}
    sheet = draw_sheet({each: fashion().train for each in found})
    page = render("origin", found, advise({name: found[name]}), [], sheet, {name: "<b>"})
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    rows = markdown(found).splitlines()
    assert len({row.replace("\\|", "").count("|") for row in rows}) == 1
    assert len(heads(found)) == len(cells(name, found[name], found))
