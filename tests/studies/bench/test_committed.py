"""The tables in benchmarks/ say what the results beside them say, and the README's table is one of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from actgen.studies.bench.fairness import refuse_unfair
from actgen.studies.bench.rows import NEEDED, RESULTS, read_rows
from actgen.studies.bench.table import make_table

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
COMMITTED = sorted(BENCHMARKS.glob(f"*/{RESULTS}"))


def test_there_are_results() -> None:
    assert BENCHMARKS / "fashion-mnist-2000" / RESULTS in COMMITTED


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.parent.name)
def test_the_table_follows_from_the_results(path: Path) -> None:
    rows = read_rows(path)
    refuse_unfair(rows)
    assert (path.parent / "table.md").read_text(encoding="utf-8") == make_table(rows)


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.parent.name)
def test_every_line_is_a_run_on_test_images(path: Path) -> None:
    for row in read_rows(path):
        assert {*NEEDED, "test_accuracy"} <= row.keys()
        assert 0 <= row["test_accuracy"] <= 100
        assert row["synthetic_images"] == round(row["budget"] * row["real_images"])


def test_five_seeds_of_every_arm() -> None:
    seeds: dict[tuple[str, float], set[int]] = {}
    for row in read_rows(BENCHMARKS / "fashion-mnist-2000" / RESULTS):
        seeds.setdefault((row["arm"], row["budget"]), set()).add(row["seed"])
    assert all(set(range(5)) <= found for found in seeds.values())


def test_the_readme_quotes_the_table() -> None:
    evidence = (BENCHMARKS.parent / "README.md").read_text(encoding="utf-8").partition("## Evidence")[2].partition("\n## ")[0]
    quoted = [line for line in evidence.splitlines() if line.startswith("|")]
    table = (BENCHMARKS / "fashion-mnist-2000" / "table.md").read_text(encoding="utf-8").splitlines()
    assert quoted == [line for line in table if line.startswith("|")]
