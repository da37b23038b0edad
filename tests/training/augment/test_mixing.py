"""Laws of mixup and cutmix."""

from __future__ import annotations

import pytest
import torch

from actgen.core.rng import generator
from actgen.training.augment.mixing import Mixing

IMAGES = torch.rand((16, 3, 12, 12), generator=generator(0, "pictures"))
LABELS = torch.randint(5, (16,), generator=generator(0, "labels"))
SETTINGS = [Mixing(mixup=0.2), Mixing(cutmix=1.0), Mixing(mixup=0.2, cutmix=1.0)]


def test_off_gives_back_the_very_batch() -> None:
    images, labels = Mixing()(IMAGES, LABELS, 5, 0)
    assert images is IMAGES
    assert labels is LABELS
    assert Mixing(mixup=1.0, probability=0.0)(IMAGES, LABELS, 5, 0)[0].equal(IMAGES)


@pytest.mark.parametrize("mixing", SETTINGS)
def test_the_seed_decides_everything(mixing: Mixing) -> None:
    before, state = IMAGES.clone(), torch.get_rng_state()
    images, targets = mixing(IMAGES, LABELS, 5, 1)
    again = mixing(IMAGES, LABELS, 5, 1)
    assert torch.equal(images, again[0])
    assert torch.equal(targets, again[1])
    assert not all(torch.equal(images, mixing(IMAGES, LABELS, 5, seed)[0]) for seed in range(2, 6))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(IMAGES, before)


@pytest.mark.parametrize("mixing", SETTINGS)
@pytest.mark.parametrize("seed", range(5))
def test_targets_are_probabilities_of_the_classes_that_went_in(mixing: Mixing, seed: int) -> None:
    images, targets = mixing(IMAGES, LABELS, 5, seed)
    assert (images.shape, targets.shape) == (IMAGES.shape, (16, 5))
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(16))
    went_in = torch.nn.functional.one_hot(LABELS, 5) + torch.nn.functional.one_hot(LABELS.flip(0), 5)
    assert not bool((targets[went_in == 0] != 0).any())


def test_the_share_of_the_target_is_the_share_of_the_picture() -> None:
    images, targets = Mixing(cutmix=1.0)(IMAGES, torch.arange(16), 16, 4)
    kept = (images == IMAGES).all(dim=1).float().mean(dim=(1, 2))
    torch.testing.assert_close(targets.diagonal(), kept)
    assert 0 < float(kept[0]) < 1


def test_both_are_drawn_and_about_as_often_as_asked() -> None:
    mixing = Mixing(mixup=1.0, cutmix=1.0, probability=0.5)
    outs = [mixing(IMAGES, LABELS, 5, seed)[0] for seed in range(200)]
    plain = sum(torch.equal(out, IMAGES) for out in outs)
    cut = sum(not torch.equal(out, IMAGES) and bool(((out == IMAGES) | (out == IMAGES.flip(0))).all()) for out in outs)
    assert 75 <= plain <= 130
    assert 25 <= cut <= 75
