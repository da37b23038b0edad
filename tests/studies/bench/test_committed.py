"""The tables in benchmarks/ say what the results beside them say (README and docs: tests/docs/test_generated_pages.py)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from actgen.core.provenance import DIRTY
from actgen.studies.bench.fairness import refuse_unfair
from actgen.studies.bench.protocol import PROTOCOL
from actgen.studies.bench.rows import NEEDED, RESULTS, read_rows
from actgen.studies.bench.run import FINAL_LOOKS, FINAL_TABLE, held_protocol
from actgen.studies.bench.table import make_table

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
COMMITTED = sorted(BENCHMARKS.glob(f"*/{RESULTS}"))


def test_there_are_results() -> None:
    assert BENCHMARKS / "fashion-mnist-2000" / RESULTS in COMMITTED


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.parent.name)
def test_the_table_follows_from_the_results(path: Path) -> None:
    rows = read_rows(path)
    refuse_unfair(rows)
    protocol = held_protocol(path.parent)
    assert (path.parent / "table.md").read_text(encoding="utf-8") == make_table(rows, protocol)
    if (final := path.parent / FINAL_TABLE).exists():
        assert (path.parent / FINAL_LOOKS).exists()
        assert final.read_text(encoding="utf-8") == make_table(rows, protocol, final=True)


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.parent.name)
def test_what_a_protocol_declares_was_committed_before_it_was_measured(path: Path) -> None:
    """The commit that last changed a protocol comes before the commit of the source that measured each row."""
    protocol = path.parent / PROTOCOL
    if not protocol.exists():
        return  # of before there were protocols
    if git("rev-parse", "--is-shallow-repository") != "false":
        pytest.skip("no git, no checkout, or one without its history")
    declared = git("log", "-1", "--format=%H", "--", str(protocol))
    assert declared, "the protocol is not committed"
    for commit in sorted({row["commit"].removesuffix(DIRTY) for row in read_rows(path)}):
        assert git("merge-base", "--is-ancestor", declared, commit) is not None, f"{commit} measured before {declared} declared"


def git(*arguments: str) -> str | None:
    """Return what git says; None if it cannot, or says no."""
    try:
        done = subprocess.run(["git", "-C", str(BENCHMARKS), *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


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
