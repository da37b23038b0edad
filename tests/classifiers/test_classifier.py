"""Laws of the face over classifiers, for our own and for two kinds of timm's."""

from __future__ import annotations

import pytest
import torch

from actgen.classifiers.classifier import SMALL_CNN, Classifier, create_classifier
from actgen.classifiers.predictions import predict_pixels
from actgen.core.errors import UserError
from actgen.core.frozen import frozen
from actgen.core.rng import generator

MODELS = (SMALL_CNN, "resnet18", "vit_tiny_patch16_224")
each_model = pytest.mark.parametrize("name", MODELS)


def make(name: str, seed: int = 0) -> Classifier:
    return create_classifier(name, 4, data_size=8, image_size=32, seed=seed)


def flags(model: torch.nn.Module) -> tuple[list[bool], list[bool]]:
    return [part.training for part in model.modules()], [p.requires_grad for p in model.parameters()]


@each_model
@pytest.mark.parametrize("size", [32, 20, 48])
def test_pictures_of_any_size_become_logits(name: str, size: int) -> None:
    classifier = make(name).eval()
    assert classifier.image_size == 32
    logits = classifier(torch.rand((3, 3, size, size), generator=generator(0)))
    assert (logits.shape, logits.dtype) == ((3, 4), torch.float32)
    assert bool(logits.isfinite().all())


@each_model
def test_the_seed_decides_the_weights(name: str) -> None:
    state = torch.get_rng_state()
    one, same, other = (make(name, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert list(one) == list(same)
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


@each_model
def test_gradients_reach_the_picture_and_the_weights(name: str) -> None:
    classifier = make(name)
    images = torch.rand((2, 3, 32, 32), generator=generator(0)).requires_grad_()
    classifier(images).logsumexp(dim=1).sum().backward()
    assert images.grad is not None
    assert float(images.grad.abs().sum()) > 0
    assert all(parameter.grad is not None for parameter in classifier.parameters())


def mixed(name: str) -> Classifier:
    """Return a classifier with some parts in eval mode and some weights fixed."""
    classifier = make(name).train()
    next(classifier.model.children()).eval()
    next(classifier.parameters()).requires_grad_(False)
    return classifier


@each_model
def test_frozen_gives_every_flag_back(name: str) -> None:
    classifier = mixed(name)
    before = flags(classifier)
    with frozen(classifier) as same:
        assert same is classifier
        modes, wants = flags(classifier)
        assert not any(modes)
        assert not any(wants)
    assert flags(classifier) == before


@each_model
def test_frozen_gives_every_flag_back_after_an_exception(name: str) -> None:
    classifier = mixed(name)
    before = flags(classifier)
    with pytest.raises(ZeroDivisionError), frozen(classifier), frozen(classifier):
        _ = 1 // 0
    assert flags(classifier) == before


@each_model
def test_predicting_changes_nothing_and_does_not_depend_on_the_batch(name: str) -> None:
    classifier = mixed(name)
    before = {key: value.clone() for key, value in classifier.state_dict().items()}
    pixels = torch.randint(256, (7, 3, 32, 32), generator=generator(0)).to(torch.uint8)
    logits = predict_pixels(classifier, pixels)
    torch.testing.assert_close(predict_pixels(classifier, pixels, batch_size=2), logits, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(before[key], value) for key, value in classifier.state_dict().items())


@pytest.mark.parametrize(
    ("name", "data_size", "size"),
    [
        (SMALL_CNN, 300, 32),
        ("resnet18", 8, 32),
        ("resnet18", 100, 128),
        ("resnet18", 5000, 224),
        ("vit_tiny_patch16_224", 33, 64),
    ],
)
def test_the_size_follows_the_data_up_to_the_models_own(name: str, data_size: int, size: int) -> None:
    assert create_classifier(name, 2, data_size=data_size).image_size == size


@pytest.mark.parametrize("name", ["deit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "mobilevit_xxs", "resnet18.a1_in1k"])
def test_any_timm_model_that_is_made_also_runs_or_is_refused(name: str) -> None:
    try:
        classifier = create_classifier(name, 3, data_size=28)
    except UserError as error:
        message = str(error)
    else:
        message = ""
        side = classifier.image_size
        assert classifier.eval()(torch.zeros(1, 3, side, side)).shape == (1, 3)
    assert message == "" or (name in message and len(message.splitlines()) <= 2)


def test_a_model_at_its_own_size_is_never_refused() -> None:
    assert create_classifier("mobilevit_xxs", 3, data_size=28, image_size=256).image_size == 256


@pytest.mark.parametrize("name", ["resnet81", "", "resnet18.no_such_weights", "actgen/large-cnn", "[a", "no such\nmodel"])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"unknown|resnet18\.no_such_weights") as caught:
        create_classifier(name, 2, data_size=32)
    assert SMALL_CNN in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 2
