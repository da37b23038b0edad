"""The examples run as they are, with data-loading processes that stay, and go on after a stop as if never stopped."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from actgen.experiment.config import Recipe
from tests.conftest import CLASSES, read_lines
from tests.integrations.conftest import IMAGES, assert_same_images
from tests.support.stopped_runs import Stopped, stop_within_the_second_round

EXAMPLES = ("bare_loop", "lightning_callback", "timm_folder", "trainer_callback")
SLOW = [name if name == "bare_loop" else pytest.param(name, marks=pytest.mark.slow) for name in EXAMPLES]
pytestmark = pytest.mark.filterwarnings(  # Lightning's
    "ignore:.*LeafSpec.*", "ignore:.*does not have many workers.*", "ignore:Checkpoint directory .* exists"
)


@pytest.fixture(scope="session")
def brief(small: Recipe) -> Recipe:
    """The digits, six images after each of the first two of three epochs, two at a time."""
    return replace(
        small,
        sampling=replace(small.sampling, batch_size=2),
        training=replace(small.training, epochs=3),
        generation=replace(small.generation, until=0.7),
    )


@pytest.fixture(scope="session")
def whole(brief: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of an example that ran to its end; it runs once."""

    @cache
    def run(name: str) -> Path:
        out = tmp_path_factory.mktemp(name)
        train(name, brief, out)
        return out

    return run


def train(name: str, recipe: Recipe, out: Path) -> None:
    importlib.import_module(f"examples.{name}").train(recipe, out, classes=len(CLASSES), size=32, workers=1)


def test_every_example_is_here() -> None:
    assert sorted(path.stem for path in Path(__file__).parents[2].glob("examples/*.py")) == [*EXAMPLES]


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_draws_what_the_recipe_says(name: str, whole: Callable[[str], Path]) -> None:
    rows = read_lines(whole(name) / "store/metadata.jsonl")
    assert [row["round"] for row in rows] == [0] * (IMAGES // 2) + [1] * (IMAGES // 2)
    stats = read_lines(whole(name) / "stats.jsonl")
    assert [row["synthetic_images"] for row in stats] == [0, IMAGES // 2, IMAGES]


@pytest.mark.parametrize("name", SLOW)
def test_it_goes_on_after_a_stop(name: str, whole: Callable[[str], Path], brief: Recipe, tmp_path: Path) -> None:
    with pytest.raises(Stopped), stop_within_the_second_round():
        train(name, brief, tmp_path / "stopped")
    assert IMAGES // 2 < len(read_lines(tmp_path / "stopped/store/metadata.jsonl")) < IMAGES
    train(name, brief, tmp_path / "stopped")
    assert_same_images(whole(name), tmp_path / "stopped")
