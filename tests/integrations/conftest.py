"""A run of `actgen train` with a small ViT of transformers, and the weights that it had after each epoch."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from torch import Tensor
from transformers import ViTConfig, ViTForImageClassification

from actgen.classifiers.classifier import Classifier
from actgen.core import files
from actgen.experiment.build import open_classifier, open_data
from actgen.experiment.config import Recipe
from actgen.experiment.run import run
from actgen.training.callbacks import Callbacks
from actgen.training.stages import EpochStats
from tests.conftest import read_lines, tree, without_times

EPOCHS, IMAGES = 4, 12  # generated in two rounds
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)


@dataclass(frozen=True)
class Trained:
    """A finished run of `actgen train`: its folder, its recipe, and the classifier's weights after each epoch."""

    out: Path
    recipe: Recipe
    weights: list[dict[str, Tensor]]

    def classifier(self) -> Classifier:
        """Return the run's classifier before its first step."""
        return open_classifier(self.recipe, open_data(self.recipe).train)


@pytest.fixture(scope="session")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as transformers saves it: a ViT of 3 classes for 16 pixels, with its preprocessor."""
    folder = tmp_path_factory.mktemp("hub") / "vit"
    config = ViTConfig(
        image_size=16,
        patch_size=4,
        num_labels=3,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    ViTForImageClassification(config).save_pretrained(folder)
    facts = {"size": {"height": 16, "width": 16}, "image_mean": MEAN, "image_std": STD}
    (folder / "preprocessor_config.json").write_text(json.dumps(facts), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def small(recipe: Recipe, vit: Path) -> Recipe:
    """Four epochs on the digits, six images after each of the first two, with all guides."""
    model = replace(recipe.model, name=f"hf:{vit}", image_size=0)
    return replace(
        recipe,
        model=model,
        generation=replace(recipe.generation, budget=0.1, previews=0, curriculum=False),
        sampling=replace(recipe.sampling, num_inference_steps=3),
    )


@pytest.fixture(scope="session")
def trained(small: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """What `actgen train` does."""
    out, weights = tmp_path_factory.mktemp("trained") / "run", []

    def keep(stats: EpochStats) -> None:
        state = files.load(out / "checkpoints" / f"{stats.epoch + 1:07d}-0-ready.pt")
        assert state is not None
        weights.append(state["parts"]["model"])

    run(small, out, callbacks=Callbacks(on_epoch=keep), page=False)
    return Trained(out, small, weights)


def assert_same_images(one: Path, other: Path) -> None:
    """Two folders hold the same generated images: manifest, pictures, and what their guides looked at."""
    lines = [without_times(read_lines(out / "store" / "metadata.jsonl")) for out in (one, other)]
    assert len(lines[0]) == IMAGES
    assert lines[0] == lines[1]
    assert tree(one / "store" / "images") == tree(other / "store" / "images")
    assert tree(one / "rounds") == tree(other / "rounds")
