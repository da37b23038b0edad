"""The table follows from results.jsonl alone: also from every one that is committed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from actgen.core.errors import UserError
from actgen.studies.bench.compare import compare
from actgen.studies.bench.fairness import refuse_unfair
from actgen.studies.bench.rows import RESULTS, read_rows, write_rows
from actgen.studies.bench.run import held_protocol
from actgen.studies.bench.table import ONE_SEED, make_table
from tests.support.bench_rows import make_row, make_rows

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
COMMITTED = sorted(path.parent for path in BENCHMARKS.glob(f"*/{RESULTS}"))
TABLE = """\
## mini

| arm | budget | seeds | test accuracy | gain | 95% interval | per 1,000 images | per second | training | generation | seeds for 0.5 |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| `none` | – | 3 | 86.97% | – | – | – | – | 41 s | – | – |
| `actgen` | 0.3 | 3 | 87.87% | +0.90 | +0.40 to +1.40 | +1.50 | +0.0300 | 41 s | 30 s | 4 |
| `text-only` | 0.3 | 3 | 87.17% | +0.20 | −0.46 to +0.86 | +0.33 | +0.0067 | 41 s | 30 s | 5 |
"""  # noqa: E501


@pytest.mark.parametrize("folder", [pytest.param(path, id=path.name) for path in COMMITTED])
def test_a_committed_table_follows_from_its_results(folder: Path) -> None:
    rows = read_rows(folder / RESULTS)
    refuse_unfair(rows)
    assert (folder / "table.md").read_text(encoding="utf-8") == make_table(rows, held_protocol(folder))


def test_a_table_follows_from_its_results(tmp_path: Path) -> None:
    write_rows(tmp_path / RESULTS, reversed(make_rows()))
    assert make_table(read_rows(tmp_path / RESULTS)).startswith(TABLE)
    assert ONE_SEED not in make_table(make_rows())


def test_one_seed_has_no_interval_and_says_what_that_means() -> None:
    table = make_table(make_rows(seeds=1))
    assert "| `actgen` | 0.3 | 1 | 87.90% | +0.90 | – |" in table
    assert ONE_SEED in table


def test_differences_are_paired_by_seed() -> None:
    """A seed without `none` counts for the accuracy of its arm, and not for its gain."""
    rows = [row for row in make_rows() if (row["arm"], row["seed"]) != ("none", 2)]
    actgen = compare(rows)[-1]
    assert actgen.differences == pytest.approx((0.9, 1.1))
    assert len(actgen.accuracies) == 3
    assert "Some seeds have no run of `none`" in make_table(rows)


def test_an_arm_on_top_of_a_control_is_compared_with_it_too() -> None:
    rows = [
        *make_rows(),
        *(make_row("focal", seed, 0.0, test_accuracy=80.0 + seed) for seed in range(3)),
        *(make_row("actgen+focal", seed, test_accuracy=81.0 + seed) for seed in range(3)),
    ]
    last = compare(rows)[-1]
    assert (last.arm, last.control, last.beyond) == ("actgen+focal", "focal", (1.0, 1.0, 1.0))
    assert "against the control alone: `actgen+focal` 0.3 +1.00 (+1.00 to +1.00) over `focal`." in make_table(rows)
    assert "control" not in make_table([row for row in rows if row["arm"] != "focal"])


def test_every_recipe_and_budget_has_its_rows() -> None:
    rows = [*make_rows(budgets=(0.1, 0.3)), *(row | {"recipe": "other"} for row in make_rows())]
    table = make_table(rows)
    assert table.count("## ") == 2
    assert table.count("| `actgen` |") == 3
    assert [one.budget for one in compare(rows) if (one.recipe, one.arm) == ("mini", "actgen")] == [0.1, 0.3]


def test_a_validation_table_says_so() -> None:
    rows = make_rows()
    for row in rows:
        row["validation_accuracy"] = row.pop("test_accuracy")
    assert "validation accuracy" in make_table(rows)
    assert "test accuracy" not in make_table(rows)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("{", "results.jsonl"),
        ("[1]\n", "line 1: not a run"),
        ('{"arm": "none"}', "line 1: not a run"),
        (json.dumps(make_row("none", 0)) + '\n{"recipe": "mini"}\n', "line 2: not a run"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / RESULTS).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=words):
        read_rows(tmp_path / RESULTS)


def test_results_that_say_the_same_are_left_alone(tmp_path: Path) -> None:
    write_rows(tmp_path / RESULTS, make_rows())
    before = (tmp_path / RESULTS).stat().st_mtime_ns
    write_rows(tmp_path / RESULTS, reversed(make_rows()))
    assert (tmp_path / RESULTS).stat().st_mtime_ns == before
