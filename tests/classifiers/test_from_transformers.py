"""Image classifiers of transformers by `--model hf:`, from folders as transformers saves them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import ConvNextConfig, ConvNextForImageClassification, ViTConfig, ViTForImageClassification

from actgen.classifiers.classifier import Model, create_classifier
from actgen.core.errors import UserError
from actgen.core.rng import generator
from tests.conftest import Refuse

MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.3, 0.4]


def saved(folder: Path, model: Any, **facts: Any) -> Path:
    model.save_pretrained(folder)
    if facts:
        (folder / "preprocessor_config.json").write_text(json.dumps(facts), encoding="utf-8")
    return folder


def vit(classes: int = 3) -> ViTForImageClassification:
    return ViTForImageClassification(
        ViTConfig(
            image_size=16,
            patch_size=8,
            num_labels=classes,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
        )
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(
        tmp_path_factory.mktemp("hub") / "vit", vit(), size={"height": 16, "width": 16}, image_mean=MEAN, image_std=STD
    )


def images(size: int) -> torch.Tensor:
    return torch.rand((2, 3, size, size), generator=generator(0))


def test_the_preprocessor_is_honoured(folder: Path) -> None:
    classifier = create_classifier(f"hf:{folder}", 5, data_size=100).eval()
    assert classifier.image_size == 16
    torch.testing.assert_close(classifier.mean.flatten().tolist(), MEAN)
    torch.testing.assert_close(classifier.std.flatten().tolist(), STD)
    seen: list[torch.Tensor] = []
    classifier.model.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    assert classifier(images(16)).shape == (2, 5)
    wanted = (images(16) - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    torch.testing.assert_close(seen[0], wanted)


def test_weights_are_drawn_by_seed_or_those_of_the_folder(folder: Path) -> None:
    one, same, other = (create_classifier(f"hf:{folder}", 5, data_size=16, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)
    published = ViTForImageClassification.from_pretrained(folder).state_dict()
    for classes in (3, 5):
        found = create_classifier(Model(name=f"hf:{folder}", pretrained=True), classes, data_size=16).model.state_dict()
        kept = (
            {key for key in published if torch.equal(published[key], found[key])}
            if classes == 3
            else {key for key in published if not key.startswith("classifier.") and torch.equal(published[key], found[key])}
        )
        assert set(published) - kept == (set() if classes == 3 else {"classifier.weight", "classifier.bias"})


def test_it_shows_its_last_layer_and_features(folder: Path) -> None:
    classifier = create_classifier(Model(name=f"hf:{folder}", freeze="backbone"), 5, data_size=16)
    assert {name for name, weight in classifier.named_parameters() if weight.requires_grad} == {
        "model.classifier.weight",
        "model.classifier.bias",
    }
    features = classifier.eval().features(images(16))
    assert features.shape == (2, 16)
    torch.testing.assert_close(classifier.head(features), classifier(images(16)))
    given = images(16).requires_grad_()
    classifier.features(given).sum().backward()
    assert given.grad is not None


def test_a_model_without_a_preprocessor_has_its_own_size(tmp_path: Path) -> None:
    config = ConvNextConfig(num_channels=3, hidden_sizes=[8, 8], depths=[1, 1], num_stages=2, num_labels=3, image_size=32)
    saved(tmp_path / "convnext", ConvNextForImageClassification(config))
    classifier = create_classifier(f"hf:{tmp_path / 'convnext'}", 4, data_size=8).eval()
    assert (classifier.image_size, classifier(images(32)).shape) == (32, (2, 4))
    assert classifier.mean.flatten().tolist() == [0.5] * 3
    assert create_classifier(f"hf:{tmp_path / 'convnext'}", 4, data_size=8, image_size=16).image_size == 16


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("hf:./nowhere", "there is no such folder"),
        ("hf:", "there is no such folder"),
        ("hf:no/such-model-anywhere", "cannot be loaded"),
    ],
)
def test_what_is_not_there_is_refused(name: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=says):
        create_classifier(name, 2, data_size=32)


def test_code_and_unsafe_weights_of_a_folder_are_refused(folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    own = {"AutoConfig": "mine.Config", "AutoModelForImageClassification": "mine.Model"}
    for name, changed in {
        "code": {**config, "model_type": "mine", "auto_map": own},
        "text": {"model_type": "bert", "num_hidden_layers": 1},
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(changed))
        (tmp_path / name / "mine.py").write_text("raise SystemExit('code was run')")
        with pytest.raises(UserError, match="cannot be loaded"):
            create_classifier(f"hf:{tmp_path / name}", 3, data_size=16)
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "config.json").write_text(json.dumps(config))
    torch.save(load_file(folder / "model.safetensors"), tmp_path / "pickled" / "pytorch_model.bin")
    with pytest.raises(UserError, match="cannot be loaded"):
        create_classifier(Model(name=f"hf:{tmp_path / 'pickled'}", pretrained=True), 3, data_size=16)


def test_kernels_of_the_hub_are_not_asked_for(folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "attn_implementation": "someone/kernel"}))
    model: Any = create_classifier(f"hf:{tmp_path}", 3, data_size=16).model
    assert model.config._attn_implementation == "eager"


def test_the_command_line_refuses_it_in_a_line(refuse: Refuse) -> None:
    assert "there is no such folder" in refuse("train", "--model", "hf:./nowhere", "--out", "out")
