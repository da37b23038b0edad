"""Any module goes through rounds of generation, with all guides, as the classifier of a loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import ViTConfig, ViTForImageClassification

from actgen.classifiers.classifier import Classifier, create_classifier
from actgen.core.errors import UserError
from actgen.data.store.store import MANIFEST
from actgen.experiment.config import Recipe
from actgen.integrations.active import ActiveGeneration
from tests.conftest import CLASSES, read_lines
from tests.integrations.conftest import IMAGES

MIDDLE = (0.5, 0.5, 0.5)


def bare() -> Classifier:
    return Classifier(nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, len(CLASSES))), 16, MIDDLE, MIDDLE)


def of_transformers() -> Classifier:
    config = ViTConfig(
        image_size=16,
        patch_size=8,
        num_labels=len(CLASSES),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    return Classifier(ViTForImageClassification(config), 16, MIDDLE, MIDDLE)


def resnet50() -> Classifier:
    return create_classifier("resnet50", len(CLASSES), data_size=32)


def vit_small() -> Classifier:
    return create_classifier("vit_small_patch16_224", len(CLASSES), data_size=32)


@pytest.mark.parametrize("make", [bare, of_transformers, vit_small, pytest.param(resnet50, marks=pytest.mark.slow)])
def test_it_goes_through_two_rounds(make: Callable[[], Classifier], small: Recipe, tmp_path: Path) -> None:
    recipe = replace(
        small, generation=replace(small.generation, replay=False), sampling=replace(small.sampling, num_inference_steps=2)
    )
    torch.manual_seed(0)
    classifier = make()
    optimizer = torch.optim.SGD(classifier.parameters(), lr=0.01)
    with ActiveGeneration.from_recipe(recipe, tmp_path, classifier) as active:
        for epoch in range(2):
            active.begin(epoch)
            pixels = torch.stack([active.dataset[place][0] for place in range(8)])
            classifier.train()(pixels.float() / 255).logsumexp(dim=1).sum().backward()
            optimizer.step()
            active.after_epoch(epoch)
            assert classifier.training  # given back as found
    rows = read_lines(tmp_path / "store" / MANIFEST)
    assert [row["round"] for row in rows] == [0] * (IMAGES // 2) + [1] * (IMAGES // 2)
    assert any("adversarial" in row["guides"] for row in rows)


def test_a_classifier_of_other_classes_is_refused(small: Recipe, tmp_path: Path) -> None:
    classifier = create_classifier("actgen/tiny-cnn", 7, data_size=32)
    with pytest.raises(UserError, match=r"gives \[1, 7\] for one image, but the data have 4 classes"):
        ActiveGeneration.from_recipe(small, tmp_path / "out", classifier)
    assert not (tmp_path / "out").exists()
