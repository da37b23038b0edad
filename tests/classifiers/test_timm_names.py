"""Models by every name that the hub shows, and the nearest name to one that is not known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st

from actgen.classifiers.classifier import create_classifier
from actgen.classifiers.timm_names import near, plain_name
from actgen.core.errors import UserError
from actgen.core.nearest import distance, nearest


@pytest.mark.parametrize("name", ["timm/resnet10t.c3_in1k", "hf-hub:timm/resnet10t.c3_in1k", "hf_hub:timm/resnet10t.c3_in1k"])
def test_names_as_the_hub_shows_them(name: str) -> None:
    found, plain = (create_classifier(one, 3, data_size=32, seed=1).state_dict() for one in (name, "resnet10t.c3_in1k"))
    assert all(torch.equal(found[key], plain[key]) for key in plain)


def test_another_owners_name_is_left_to_the_hub() -> None:
    assert plain_name("hf-hub:someone/model") == "hf-hub:someone/model"
    assert plain_name("resnet18.a1_in1k") == "resnet18.a1_in1k"


def test_a_model_in_a_folder(tmp_path: Path) -> None:
    cfg = {"input_size": [3, 64, 64], "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "num_classes": 7}
    config = {"architecture": "resnet10t", "num_classes": 7, "pretrained_cfg": cfg}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    classifier = create_classifier(f"local-dir:{tmp_path}", 3, data_size=100)
    assert (classifier.image_size, classifier.std.unique().tolist()) == (64, [0.25])
    assert classifier(torch.zeros(1, 3, 64, 64)).shape == (1, 3)
    with pytest.raises(UserError, match="its configuration cannot be had"):
        create_classifier(f"local-dir:{tmp_path / 'nowhere'}", 3, data_size=100)


@pytest.mark.parametrize(
    ("wrong", "right"), [("resnet-18", "resnet18"), ("resnet1", "resnet14t"), ("vit_small_patch16", "vit_small_patch16_224")]
)
def test_the_nearest_name(wrong: str, right: str) -> None:
    assert right in near(wrong) or distance(wrong, near(wrong).split(", ")[0]) <= distance(wrong, right)


def test_resnet_18_is_told_resnet18() -> None:
    with pytest.raises(UserError, match="like resnet18, "):
        create_classifier("resnet-18", 3, data_size=32)


@given(st.text(max_size=6), st.text(max_size=6), st.text(max_size=6))
def test_the_distance_is_one(a: str, b: str, c: str) -> None:
    assert distance(a, b) == distance(b, a)
    assert (distance(a, b) == 0) == (a == b)
    assert distance(a, c) <= distance(a, b) + distance(b, c)
    assert abs(len(a) - len(b)) <= distance(a, b) <= max(len(a), len(b))


def test_a_known_name_is_its_own_nearest() -> None:
    assert nearest("resnet18", timm.list_models("resnet*"), 1) == ["resnet18"]
