"""The headline of a bench: the best arm and the best control, with what is left after correction; also of what is committed."""

from __future__ import annotations

from pathlib import Path

import pytest

from actgen.studies.bench.compare import best_first, compare
from actgen.studies.bench.page import render
from actgen.studies.bench.rows import RESULTS, read_rows
from actgen.studies.bench.run import held_protocol
from actgen.studies.bench.words import best, headline, judge, lead, remarks, tone
from tests.support.bench_rows import make_row, make_rows

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
COMMITTED = sorted(path.parent for path in BENCHMARKS.glob(f"*/{RESULTS}"))


@pytest.mark.parametrize("folder", [pytest.param(path, id=path.name) for path in COMMITTED])
def test_the_committed_results_name_the_best_arm_and_the_best_control(folder: Path) -> None:
    rows, protocol = read_rows(folder / RESULTS), held_protocol(folder)
    if protocol is not None:
        rows = [protocol.shown(row, final=False) for row in rows]
    for recipe in dict.fromkeys(row["recipe"] for row in rows):
        compared = compare([row for row in rows if row["recipe"] == recipe])
        judged = judge(compared, protocol)
        first, said = lead(compared, protocol), headline(compared, protocol)
        assert first is not None
        assert said.startswith(("Helped: ", "Harmed: ", "Cannot tell: "))
        assert f"{first.arm} with {100 * first.budget:g}% generated images" in said
        control = best(judged, generates=False)
        assert control is None or f"the best control without a generator, {control.name}:" in said


def test_fashion_mnist_2000_is_led_by_its_best_arm() -> None:
    compared = compare(read_rows(BENCHMARKS / "fashion-mnist-2000" / RESULTS))
    assert headline(compared).startswith("Cannot tell: selective-clip with 30% generated images +1.24 points against real only")
    assert "mixup-cutmix: +0.70" in headline(compared)
    assert "corrected for 42 arms" in headline(compared)


def test_a_gain_that_outlives_correction_comes_before_a_larger_one_that_does_not() -> None:
    rows = [make_row("none", seed) for seed in range(3)]
    rows += [make_row("text-only", seed, test_accuracy=row["test_accuracy"] + 0.5) for seed, row in enumerate(rows[:3])]
    rows += [
        make_row("actgen", seed, test_accuracy=row["test_accuracy"] + gain)
        for seed, (row, gain) in enumerate(zip(rows[:3], (4.0, -2.0, 1.0), strict=True))
    ]
    compared = compare(rows)
    assert [one.arm for one in best_first(compared)] == ["none", "actgen", "text-only"]
    assert headline(compared).startswith("Helped: text-only with 30% generated images +0.50 points")
    assert tone(compared) == "helped"
    assert "1 helped, 0 harmed, of 1 it cannot be told." in " ".join(remarks(compared, rows))
    assert 'class="helped"' in render(rows)


def test_one_arm_alone_needs_no_correction() -> None:
    rows = [row for row in make_rows() if row["arm"] != "text-only"]
    said = headline(compare(rows))
    assert "corrected" not in said
    assert said.startswith(
        "Helped: actgen with 30% generated images +0.90 points against real only (95% interval +0.40 to +1.40"
    )


def test_one_seed_tells_nothing() -> None:
    assert headline(compare(make_rows(seeds=1))).startswith("Cannot tell: actgen with 30% generated images +0.90 points")


def test_a_bench_at_chance_says_so() -> None:
    rows = [row | {"test_accuracy": 10.1, "per_class": dict.fromkeys("abcdefghij", 10.1)} for row in make_rows()]
    assert any("At chance: 10.1%" in remark for remark in remarks(compare(rows), rows))
