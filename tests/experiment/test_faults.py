"""Faults around the rounds, in real runs: nothing to learn from, little to look at, and a generator that is gone."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from actgen.classifiers.classifier import Model
from actgen.classifiers.mining import Mining
from actgen.classifiers.predictions import predict
from actgen.core.errors import UserError
from actgen.core.types import Progress
from actgen.data.datasets.imageset import Subset
from actgen.experiment.build import open_run
from actgen.experiment.config import Recipe, to_toml
from actgen.experiment.run import run
from actgen.training.loop import fit
from tests.conftest import Refuse, command, read_lines, without_times

HELD_OUT = Mining(pool="holdout")


@pytest.fixture
def shades(tmp_path: Path) -> Path:
    """Two classes that nobody can take for each other, and a third that looks like the second."""
    for number in range(30):
        for name, shade in (("black", 0), ("white", 250), ("snow", 251)):
            (tmp_path / "shades" / name).mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), shade + number % 4).save(tmp_path / "shades" / name / f"{number:02d}.png")
    return tmp_path / "shades"


@pytest.fixture
def easy(recipe: Recipe, shades: Path) -> Recipe:
    training = replace(recipe.training, batch_size=8, learning_rate=0.02, epochs=6)
    return replace(recipe, data=str(shades), model=Model(), training=training, mining=HELD_OUT)


def test_a_class_that_is_never_misclassified_gets_no_image(easy: Recipe, tmp_path: Path) -> None:
    summary = run(easy, tmp_path / "out")
    rows = read_lines(tmp_path / "out" / "store" / "metadata.jsonl")
    later = {row["class_name"] for row in rows if row["round"] > 0}
    assert later
    assert "black" not in later
    assert summary["synthetic_images"] == round(0.3 * 90)


def test_rounds_without_a_mistake_draw_nothing_and_the_run_goes_on(easy: Recipe, shades: Path, tmp_path: Path) -> None:
    shutil.rmtree(shades / "snow")
    summary = run(easy, tmp_path / "out")
    stats = read_lines(tmp_path / "out" / "stats.jsonl")
    perfect = [row["epoch"] for row in stats if row["holdout_accuracy"] == 100]
    assert perfect
    rows = read_lines(tmp_path / "out" / "store" / "metadata.jsonl") if summary["synthetic_images"] else []
    assert not {row["round"] for row in rows} & set(perfect)
    assert len(stats) == 6


def test_a_hold_out_of_fewer_images_than_classes_is_enough(recipe: Recipe, tmp_path: Path) -> None:
    training = open_run(replace(recipe, mining=HELD_OUT), tmp_path / "out")
    assert training.round is not None
    assert training.held_out is not None
    predictions = predict(training.learner.classifier, training.held_out)
    wrong = (predictions.predicted_N != predictions.labels_N).nonzero().flatten().tolist()
    few = replace(training.round, pool=Subset(training.held_out, (wrong[0],)))
    snapshot = few(training.learner.classifier, Progress(epoch=0, epochs=4), 3)
    assert {row["label"] for row in snapshot.rows} == {few.pool.labels[0]}
    assert len(snapshot) == 3
    none = replace(training.round, pool=Subset(training.held_out, ()))
    with pytest.raises(UserError, match="one held-out image or more"):
        none(training.learner.classifier, Progress(epoch=1, epochs=4), 3)


def test_a_generator_that_vanishes_is_missed_only_when_the_run_is_continued(
    refuse: Refuse, digits: Path, recipe: Recipe, tiny_generator: Path, tmp_path: Path
) -> None:
    generator = Path(shutil.copytree(tiny_generator, tmp_path / "generator"))
    moved, out = replace(recipe, generator=str(generator)), tmp_path / "out"
    out.mkdir()
    (out / "recipe.toml").write_text(to_toml(moved), encoding="utf-8")
    epochs = fit(open_run(moved, out))
    next(epochs)
    stopped = Path(shutil.copytree(out, tmp_path / "stopped"))
    shutil.rmtree(generator)
    assert [stats.epoch for stats in epochs] == [1, 2, 3]
    assert f"the generator {generator} of the run in {stopped} is not there" in refuse(*command(digits, generator, stopped))
    shutil.copytree(tiny_generator, generator)
    assert [stats.epoch for stats in fit(open_run(moved, stopped))] == [1, 2, 3]
    generated = [without_times(read_lines(each / "store" / "metadata.jsonl")) for each in (out, stopped)]
    assert generated[0] == generated[1]
