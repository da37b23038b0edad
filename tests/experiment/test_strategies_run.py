"""Every strategy through the real loop: budgets kept, what is trained on is what was asked for, a stopped run continues."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from actgen.classifiers.mining import Mining
from actgen.data.datasets.sources import load_data
from actgen.data.store.store import MANIFEST
from actgen.experiment.build import open_run
from actgen.experiment.config import Recipe
from actgen.experiment.run import run
from actgen.generation.best_of_n import Selection
from actgen.generation.strategies import STRATEGIES
from actgen.training.stages import EpochStats
from tests.conftest import read_lines, without_times

BUDGET = 12  # a tenth of the 120 digits


def short(recipe: Recipe, strategy: str, mining: Mining | None = None) -> Recipe:
    generation = replace(recipe.generation, budget=0.1, holdout=0.2, previews=0)
    sampling = replace(recipe.sampling, num_inference_steps=3)
    model, training = replace(recipe.model, name="actgen/small-cnn"), replace(recipe.training, test_every=4)
    selection = Selection(candidates=3, levels=2) if strategy == "selective" else recipe.selection
    return replace(
        recipe,
        strategy=strategy,
        generation=generation,
        sampling=sampling,
        mining=mining or Mining(proxy_epochs=2),
        model=model,
        training=training,
        selection=selection,
    )


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_it_keeps_its_budget_and_says_where_its_images_come_from(strategy: str, recipe: Recipe, tmp_path: Path) -> None:
    summary = run(short(recipe, strategy), tmp_path / "run")
    assert summary["synthetic_images"] == (0 if strategy == "none" else BUDGET)
    assert summary["optimizer_steps"] == 4 * 4
    if strategy == "none":
        return
    keys = set(load_data(recipe.data).train.keys)
    for row in read_lines(tmp_path / "run" / "store" / MANIFEST):
        assert row["strategy"] == strategy
        assert (row["source"] is None) or row["source"]["key"] in keys
    trained_on = [row["synthetic_images"] for row in read_lines(tmp_path / "run" / "stats.jsonl")]
    assert trained_on == sorted(trained_on)
    assert (trained_on[0] == BUDGET) == (strategy in {"class-conditional", "selective"})


def _stop(stats: EpochStats) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "strategy", ["not-learned-early", "class-conditional", "deliberate-practice", "oversample", "selective"]
)
def test_a_stopped_run_continues_as_if_never_stopped(strategy: str, recipe: Recipe, tmp_path: Path) -> None:
    _stop_and_continue(short(recipe, strategy), tmp_path)


def test_a_stopped_run_that_asks_clip_continues_as_if_never_stopped(recipe: Recipe, clip_folder: Path, tmp_path: Path) -> None:
    selection = Selection(candidates=2, clip=str(clip_folder), clip_probability=0.1)
    _stop_and_continue(replace(short(recipe, "selective"), selection=selection), tmp_path)
    rows = read_lines(tmp_path / "whole" / "store" / MANIFEST)
    assert any(row["class_margin"] is not None for row in rows)  # it was asked
    assert all(row["class_margin"] is None or 0 <= row["class_margin"] <= 1 for row in rows)


def _stop_and_continue(wanted: Recipe, tmp_path: Path) -> None:
    whole = run(wanted, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(wanted, tmp_path / "stopped", on_epoch=_stop)
    assert without_times(run(wanted, tmp_path / "stopped")) == without_times(whole)
    lines = [without_times(read_lines(tmp_path / name / "store" / MANIFEST)) for name in ("whole", "stopped")]
    assert lines[0] == lines[1]


def test_mining_by_cross_fitting_gives_up_no_image(recipe: Recipe, tmp_path: Path) -> None:
    wanted = short(recipe, "attentive", Mining(pool="cross-fit", folds=2, fold_epochs=1))
    run(wanted, tmp_path)
    rows = read_lines(tmp_path / "stats.jsonl")
    assert {row["real_images"] for row in rows} == {120}
    assert {row["source"]["split"] for row in read_lines(tmp_path / "store" / MANIFEST)} == {"cross-fit"}


def test_an_oversampled_image_is_its_source(recipe: Recipe, tmp_path: Path) -> None:
    wanted = short(recipe, "oversample")
    run(wanted, tmp_path)
    training = open_run(wanted, tmp_path)
    assert training.round is not None
    training.snapshot = training.round.store.snapshot()
    mixture, keys = training.mixture(4), list(training.real.keys)
    for number, row in enumerate(training.snapshot.rows):
        copy, source = mixture[120 + number][0], mixture[keys.index(row["source"]["key"])][0]
        assert row["generator"] == ""
        assert (copy == source).all()
