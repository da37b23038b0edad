"""Laws of RandAugment."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from actgen.core.rng import generator
from actgen.training.augment.randaugment import SIGNED, UNSIGNED, rand_augment

ALL = {**SIGNED, **UNSIGNED}


def pictures(batch: int = 64) -> Tensor:
    return torch.rand((batch, 3, 12, 10), generator=generator(0, "pictures"))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("strength", [-1.0, 0.3, 1.0])
def test_every_operation_keeps_shape_range_and_neighbours(name: str, strength: float) -> None:
    images = pictures(4)
    before = images.clone()
    out = ALL[name](images, strength if name in SIGNED else abs(strength))
    assert (out.shape, out.dtype) == (images.shape, images.dtype)
    assert -1e-6 <= float(out.min()) <= float(out.max()) <= 1 + 1e-6
    assert torch.equal(images, before)
    alone = ALL[name](images[2:3], strength if name in SIGNED else abs(strength))
    torch.testing.assert_close(out[2:3], alone)  # an image does not depend on its batch


@pytest.mark.parametrize("name", SIGNED)
def test_no_strength_is_identity_and_the_directions_differ(name: str) -> None:
    images = pictures(4)
    torch.testing.assert_close(SIGNED[name](images, 0.0), images)
    assert not torch.allclose(SIGNED[name](images, 0.5), SIGNED[name](images, -0.5))


def test_the_stream_decides_everything() -> None:
    images, state = pictures(), torch.get_rng_state()
    one = rand_augment(images, 2, 9, generator(1))
    assert torch.equal(one, rand_augment(images, 2, 9, generator(1)))
    assert not torch.equal(one, rand_augment(images, 2, 9, generator(2)))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(rand_augment(images, 0, 9, generator(1)), images)


def test_images_draw_for_themselves() -> None:
    image = pictures(1)
    out = rand_augment(image.repeat(200, 1, 1, 1), 1, 15, generator(0))
    different = {tuple(one.flatten().tolist()) for one in out}
    assert len(different) == 2 * len(SIGNED) + len(UNSIGNED)


def test_strengths_are_those_of_torchvision() -> None:
    from torchvision.transforms.v2 import RandAugment

    space, images = RandAugment()._AUGMENTATION_SPACE, pictures(4)
    bright = float(space["Brightness"][0](31, 12, 10)[9])
    torch.testing.assert_close(SIGNED["brightness"](images, 9 / 30), TF.adjust_brightness(images, 1 + bright))
    angle = float(space["Rotate"][0](31, 12, 10)[9])
    rotated = TF.affine(images, angle, [0, 0], 1.0, [0.0], interpolation=TF.InterpolationMode.BILINEAR)
    torch.testing.assert_close(SIGNED["rotate"](images, 9 / 30), rotated)
    bits = int(space["Posterize"][0](31, 12, 10)[27])
    torch.testing.assert_close(UNSIGNED["posterise"](images, 27 / 30), TF.posterize(images, bits))
