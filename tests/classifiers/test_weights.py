"""Laws of where a classifier's weights come from and which of them learn."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from actgen.classifiers.classifier import SMALL_CNN, Classifier, Model, create_classifier
from actgen.core.errors import UserError
from actgen.core.frozen import frozen
from actgen.core.rng import generator

NAMES = (SMALL_CNN, "resnet18", "vit_tiny_patch16_224")
IMAGES = torch.rand((4, 3, 32, 32), generator=generator(0, "pictures"))


def classifier(model: Model, classes: int = 3, seed: int = 0) -> Classifier:
    return create_classifier(model, classes, data_size=32, seed=seed)


def saved(module: nn.Module, path: Path) -> str:
    save_file({name: value.contiguous() for name, value in module.state_dict().items()}, path)
    return str(path)


def logits(one: Classifier) -> Tensor:
    with torch.no_grad():
        out: Tensor = one.eval()(IMAGES)
    return out


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ours", [True, False])
def test_a_checkpoint_gives_the_weights_back(name: str, ours: bool, tmp_path: Path) -> None:
    first = classifier(Model(name=name), seed=1)
    path = saved(first if ours else first.model, tmp_path / "weights.safetensors")
    again = classifier(Model(name=name, checkpoint=path))
    assert not torch.equal(logits(classifier(Model(name=name))), logits(first))
    assert torch.equal(logits(again), logits(first))


@pytest.mark.parametrize("name", NAMES)
def test_for_other_classes_the_last_layer_is_new(name: str, tmp_path: Path) -> None:
    first = classifier(Model(name=name), seed=1)
    path = saved(first, tmp_path / "weights.safetensors")
    other = classifier(Model(name=name, checkpoint=path), classes=5)
    assert logits(other).shape == (4, 5)
    with torch.no_grad():
        assert torch.equal(other.eval().features(IMAGES), first.eval().features(IMAGES))
    fresh = classifier(Model(name=name), classes=5)
    assert all(torch.equal(a, b) for a, b in zip(other.head.parameters(), fresh.head.parameters(), strict=True))


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    path = saved(classifier(Model(name="resnet18", stem="cifar")), tmp_path / "weights.safetensors")
    with pytest.raises(UserError, match=r"1 tensors differ, the first is conv1.weight \(file: 64x3x3x3, model: 64x3x7x7\)"):
        classifier(Model(name="resnet18", checkpoint=path))
    with pytest.raises(UserError, match="does not fit the model"):
        classifier(Model(checkpoint=path))
    assert torch.equal(
        logits(classifier(Model(name="resnet18", stem="cifar", checkpoint=path))),
        logits(classifier(Model(name="resnet18", stem="cifar"))),
    )


@pytest.mark.parametrize("data", [None, b"", b"PK\x03\x04 a pickle"])
def test_a_file_that_is_no_checkpoint_is_refused(data: bytes | None, tmp_path: Path) -> None:
    if data is not None:
        (tmp_path / "weights.pt").write_bytes(data)
    with pytest.raises(UserError, match=r"weights.pt cannot be read .* Give a .safetensors file"):
        classifier(Model(checkpoint=str(tmp_path / "weights.pt")))


@pytest.mark.parametrize("name", NAMES)
def test_of_a_frozen_backbone_nothing_moves_but_the_last_layer(name: str) -> None:
    one = classifier(Model(name=name, freeze="backbone"))
    before = {key: value.clone() for key, value in one.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in one.parameters() if p.requires_grad], lr=0.1)
    one.train()
    one(IMAGES).square().sum().backward()
    optimizer.step()
    with frozen(one):  # a round of generation
        pass
    assert [p.requires_grad for p in one.head.parameters()] == [True, True]
    moved = {key for key, value in one.state_dict().items() if not torch.equal(value, before[key])}
    head = next(key for key, module in one.named_modules() if module is one.head)
    assert moved == {f"{head}.weight", f"{head}.bias"}
    assert not any(module.training for module in one.model.modules())


def test_the_stem_for_small_images_leaves_more_of_them() -> None:
    model = Model(name="resnet18")
    shapes = [classifier(replace(model, stem=stem)).model.forward_features(IMAGES).shape[-1] for stem in ("published", "cifar")]  # type: ignore[operator]
    assert shapes == [1, 4]
    one, other = (classifier(replace(model, stem="cifar"), seed=5) for _ in range(2))
    assert torch.equal(logits(one), logits(other))


def test_drop_path_reaches_the_model() -> None:
    one = classifier(Model(name="vit_tiny_patch16_224", drop_path=0.5))
    assert not torch.equal(one.train()(IMAGES), one(IMAGES))
    torch.testing.assert_close(logits(one), logits(classifier(Model(name="vit_tiny_patch16_224"))))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"freeze": "head"}, "allowed: none, backbone"),
        ({"stem": "tiny"}, "allowed: published, cifar"),
        ({"pretrained": True}, "no published weights for actgen/small-cnn"),
        ({"name": "resnet18", "pretrained": True, "stem": "cifar"}, "no published weights for model.stem = 'cifar'"),
        ({"name": "resnet18", "pretrained": True, "checkpoint": "a"}, "Give one of them"),
        ({"stem": "cifar"}, "has no model.stem"),
        ({"name": "vit_tiny_patch16_224", "stem": "cifar"}, "is for timm's ResNets"),
        ({"name": "vgg11", "drop_path": 0.1}, "--model vgg11 cannot be made"),
    ],
)
def test_what_cannot_be_is_refused(model: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        classifier(Model(**model))  # type: ignore[arg-type]


def test_a_model_without_a_last_layer_to_find_is_refused() -> None:
    with pytest.raises(UserError, match="a Flatten does not show its last layer"):
        Classifier(nn.Flatten(), 8, (0.5,) * 3, (0.5,) * 3).freeze_backbone()


def test_a_hub_that_is_not_there_is_a_message(tmp_path: Path) -> None:
    code = (
        "from actgen.classifiers.classifier import Model, create_classifier\n"
        "try: create_classifier(Model(name='resnet18', pretrained=True), 3, data_size=32)\n"
        "except ValueError as error: print(error)"
    )
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "HF_HUB_CACHE": str(tmp_path)}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=offline).stdout
    assert out.startswith("model.pretrained: the published weights of resnet18 could not be had")
    assert "--set model.checkpoint=PATH" in out
