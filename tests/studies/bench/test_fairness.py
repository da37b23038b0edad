"""What must not differ between the arms of a comparison is found and named; made-up runs here, real ones in test_bench."""

from __future__ import annotations

from typing import Any

import pytest

from actgen.core.errors import UserError
from actgen.studies.bench.fairness import differences, refuse_unfair
from actgen.studies.bench.rows import BenchRow
from tests.support.bench_rows import make_row, make_rows


def replaced(arm: str, **changes: Any) -> list[BenchRow]:
    """Return fair rows but for seed 1 of `arm`."""
    return [row if (row["arm"], row["seed"]) != (arm, 1) else make_row(arm, 1, **changes) for row in make_rows()]


def test_fair_rows_are_let_through() -> None:
    refuse_unfair(make_rows(budgets=(0.1, 0.3)))
    refuse_unfair(make_rows(seeds=1))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"optimizer_steps": 961}, "optimiser steps (mini actgen 0.3 seed 1: 961; mini none seed 1: 960)"),
        ({"real_images_digest": "other"}, "real training images"),
        ({"test_digest": "other"}, "images that accuracy is measured on"),
        ({"initial_weights": "other"}, "initial weights"),
        ({"synthetic_images": 599}, "number of generated images (mini actgen 0.3 seed 1: 599; mini text-only 0.3 seed 0: 600)"),
        ({"generator_hash": "other"}, "generator's weights"),
        (
            {"options": {"training.epochs": 30, "data": "fashion-mnist-mini", "training.label_smoothing": 0.0}},
            "training.label_smoothing (mini actgen 0.3 seed 1: 0.0; mini none seed 1: 0.1)",
        ),
        ({"options": {"training.epochs": 30, "data": "fashion-mnist-mini"}}, "training.label_smoothing"),
    ],
)
def test_what_differs_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match="no comparison") as refused:
        refuse_unfair(replaced("actgen", **changes))
    assert words in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_a_declared_setting_may_differ_and_only_that() -> None:
    smooth = {"training.epochs": 30, "data": "fashion-mnist-mini", "training.label_smoothing": 0.0}
    declared = ["strategy", "training.label_smoothing"]
    assert list(differences(replaced("actgen", options=smooth, declared=declared))) == []
    assert len(list(differences(replaced("actgen", options=smooth | {"training.epochs": 31}, declared=declared)))) == 1


def test_steps_are_equal_even_if_an_arm_declares_other_epochs() -> None:
    more = {"options": {"training.epochs": 60}, "declared": ["training.epochs"], "optimizer_steps": 1920}
    assert "optimiser steps" in next(differences(replaced("actgen", **more)))


def test_an_arm_that_is_there_to_train_for_longer_may() -> None:
    longer = [
        make_row(
            "none-long-2",
            seed,
            budget=0.0,
            optimizer_steps=1920,
            declared=["strategy", "training.epochs"],
            options={**make_rows()[0]["options"], "training.epochs": 60},
        )
        for seed in (0, 1)
    ]
    assert list(differences([*make_rows(), *longer])) == []
    assert "optimiser steps" in next(differences([*make_rows(), longer[0], longer[1] | {"arm": "long"}]))


def test_seeds_of_an_arm_with_other_steps_are_no_comparison() -> None:
    rows = [row | {"optimizer_steps": 960 + row["seed"]} for row in make_rows()]
    assert "optimiser steps" in next(differences(rows))


def test_test_and_validation_are_never_mixed() -> None:
    rows = make_rows()
    rows[0]["validation_accuracy"] = rows[0].pop("test_accuracy")
    assert list(differences(rows)) == ["some are measured on test and some on validation images"]


def test_recipes_are_not_compared_with_each_other() -> None:
    other = [row | {"recipe": "large", "optimizer_steps": 5000, "initial_weights": "x"} for row in make_rows()]
    refuse_unfair([*make_rows(), *other])
