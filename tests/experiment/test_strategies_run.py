"""Every strategy through the real loop: budgets kept, what is trained on is what was asked for, a stopped run continues."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from actgen.classifiers.mining import Mining
from actgen.core.rows import RunSummary
from actgen.data.datasets.sources import load_data
from actgen.data.store.store import MANIFEST
from actgen.experiment.build import open_run
from actgen.experiment.config import Recipe
from actgen.experiment.run import run
from actgen.generation.best_of_n import Selection
from actgen.generation.strategies import STRATEGIES
from actgen.training.callbacks import Callbacks
from actgen.training.stages import EpochStats
from tests.conftest import read_lines, without_times

BUDGET = 12  # a tenth of the 120 digits

Whole = Callable[[str], tuple[Path, RunSummary]]


def short(recipe: Recipe, strategy: str, mining: Mining | None = None) -> Recipe:
    generation = replace(recipe.generation, budget=0.1, holdout=0.2, previews=0)
    sampling = replace(recipe.sampling, num_inference_steps=3)
    model, training = replace(recipe.model, name="actgen/small-cnn"), replace(recipe.training, test_every=4)
    selection = Selection(samples_per_request=3, levels=2) if strategy == "selective" else recipe.selection
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


@pytest.fixture(scope="module")
def whole(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """Give the folder and the summary of a strategy's run, which is done once."""

    @cache
    def done(strategy: str) -> tuple[Path, RunSummary]:
        out = tmp_path_factory.mktemp(strategy) / "whole"
        return out, run(short(recipe, strategy), out, page=False)

    return done


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_it_keeps_its_budget_and_says_where_its_images_come_from(strategy: str, recipe: Recipe, whole: Whole) -> None:
    out, summary = whole(strategy)
    assert summary["synthetic_images"] == (0 if strategy == "none" else BUDGET)
    assert summary["optimizer_steps"] == 4 * 4
    if strategy == "none":
        return
    keys = set(load_data(recipe.data).train.keys)
    for row in read_lines(out / "store" / MANIFEST):
        assert row["strategy"] == strategy
        assert (row["source"] is None) or row["source"]["key"] in keys
    trained_on = [row["synthetic_images"] for row in read_lines(out / "stats.jsonl")]
    assert trained_on == sorted(trained_on)
    assert (trained_on[0] == BUDGET) == (strategy in {"class-conditional", "selective"})


def _stop(stats: EpochStats) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "strategy", ["not-learned-early", "class-conditional", "deliberate-practice", "oversample", "selective"]
)
def test_a_stopped_run_continues_as_if_never_stopped(strategy: str, recipe: Recipe, whole: Whole, tmp_path: Path) -> None:
    out, summary = whole(strategy)
    _stop_and_continue(short(recipe, strategy), tmp_path / "stopped", out, summary)


def test_a_stopped_run_that_asks_clip_continues_as_if_never_stopped(recipe: Recipe, clip_folder: Path, tmp_path: Path) -> None:
    selection = Selection(samples_per_request=2, clip=str(clip_folder), clip_probability=0.1)
    wanted = replace(short(recipe, "selective"), selection=selection)
    _stop_and_continue(wanted, tmp_path / "stopped", tmp_path / "whole", run(wanted, tmp_path / "whole", page=False))
    rows = read_lines(tmp_path / "whole" / "store" / MANIFEST)
    assert any(row["class_margin"] is not None for row in rows)  # it was asked
    assert all(row["class_margin"] is None or 0 <= row["class_margin"] <= 1 for row in rows)


def _stop_and_continue(wanted: Recipe, out: Path, whole: Path, summary: RunSummary) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(wanted, out, callbacks=Callbacks(on_epoch=_stop), page=False)
    assert without_times(run(wanted, out, page=False)) == without_times(summary)
    lines = [without_times(read_lines(folder / "store" / MANIFEST)) for folder in (whole, out)]
    assert lines[0] == lines[1]


def test_mining_by_cross_fitting_gives_up_no_image(recipe: Recipe, tmp_path: Path) -> None:
    wanted = short(recipe, "attentive", Mining(pool="cross-fit", folds=2, fold_epochs=1))
    run(wanted, tmp_path, page=False)
    rows = read_lines(tmp_path / "stats.jsonl")
    assert {row["real_images"] for row in rows} == {120}
    assert {row["source"]["split"] for row in read_lines(tmp_path / "store" / MANIFEST)} == {"cross-fit"}


def test_an_oversampled_image_is_its_source(recipe: Recipe, tmp_path: Path) -> None:
    wanted = short(recipe, "oversample")
    run(wanted, tmp_path, page=False)
    training = open_run(wanted, tmp_path)
    assert training.round is not None
    training.state.snapshot = training.round.store.snapshot()
    mixture, keys = training.mixture(4), list(training.real.keys)
    for number, row in enumerate(training.state.snapshot.rows):
        assert row["source"] is not None
        copy, source = mixture[120 + number][0], mixture[keys.index(row["source"]["key"])][0]
        assert row["generator"] == ""
        assert (copy == source).all()
