"""Where the rounds of a run look when nobody says so: small data give no label away."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from actgen.classifiers.mining import ENOUGH_HELD_OUT, Mining
from actgen.data.datasets.sources import load_data
from actgen.experiment.build import held_out_images, settled_mining
from actgen.experiment.config import Recipe, build_recipe
from actgen.experiment.run import run
from actgen.generation.strategies import STRATEGIES, create_strategy
from actgen.report.reading import read_run
from tests.conftest import CLASSES, TRAIN_IMAGES, read_lines

AUTO = [name for name in STRATEGIES if (own := create_strategy(name).mining) is not None and own.pool == "auto"]


@pytest.mark.parametrize("strategy", AUTO)
@pytest.mark.parametrize("holdout", [0.1, 0.49, 0.5, 0.9])
def test_images_are_held_out_only_where_they_are_enough(strategy: str, holdout: float) -> None:
    train = load_data("fashion-mnist-mini").train
    recipe = build_recipe(settings=[f"strategy={strategy}", f"generation.holdout={holdout}"])
    away, mining = held_out_images(recipe, train), settled_mining(recipe, train)
    assert mining is not None
    assert (mining.pool == "holdout") == (away is not None) == (holdout * len(train.labels) >= ENOUGH_HELD_OUT)
    assert away is None or len(away.labels) >= ENOUGH_HELD_OUT


@pytest.mark.parametrize("strategy", ["text-only", "none"])
def test_a_strategy_that_looks_at_nothing_holds_nothing_out(strategy: str) -> None:
    recipe = build_recipe(settings=[f"strategy={strategy}", "mining.pool=holdout"])
    assert held_out_images(recipe, load_data("fashion-mnist-mini").train) is None


def test_the_paper_and_most_of_its_ladder_follow_the_size_of_the_data() -> None:
    assert {"actgen", "attentive", "image-guided", "attentive+contrastive", "oversample", "curriculum"} == set(AUTO)


@pytest.mark.parametrize("pool", ["own", "holdout"])
def test_statistics_name_the_pool(recipe: Recipe, pool: str, tmp_path: Path) -> None:
    training = replace(recipe.training, epochs=2)
    summary = run(replace(recipe, mining=Mining(pool=pool), training=training), tmp_path / "out")
    rows = read_lines(tmp_path / "out" / "stats.jsonl")
    named = {"own": "training", "holdout": "holdout"}[pool]
    assert [row["mined_pool"] for row in rows] == [named, None]
    assert (rows[0]["real_images"] == len(CLASSES) * TRAIN_IMAGES) == (pool == "own")
    assert summary["mined_pool"] == named
    assert [row.mined_pool for row in read_run(tmp_path / "out", "out", {}).epochs] == [named, ""]
    generated = read_lines(tmp_path / "out" / "store" / "metadata.jsonl")
    assert {row["source"]["split"] for row in generated if row["source"]} == {named}
