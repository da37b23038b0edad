"""Laws of augmentation."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from actgen.core.rng import generator
from actgen.training.augment.batch import Augmentation

OFF = Augmentation(shift=0, flip=False, erase=0.0)
SETTINGS = [OFF, Augmentation(flip=True), Augmentation(shift=0, flip=True), Augmentation(), Augmentation(shift=5, erase=1.0)]


def pictures(batch: int = 16, height: int = 12, width: int = 12) -> Tensor:
    return 0.1 + 0.9 * torch.rand((batch, 3, height, width), generator=generator(0, "pictures"))


def test_everything_off_is_identity() -> None:
    images = pictures()
    assert torch.equal(OFF(images, generator(0)), images)


@pytest.mark.parametrize("augment", SETTINGS)
@pytest.mark.parametrize("shape", [(16, 12, 12), (1, 12, 12), (3, 10, 14)])
def test_shape_range_and_input_are_kept(augment: Augmentation, shape: tuple[int, int, int]) -> None:
    images = pictures(*shape)
    before = images.clone()
    out = augment(images, generator(1))
    assert (out.shape, out.dtype) == (images.shape, images.dtype)
    assert 0 <= float(out.min()) <= float(out.max()) <= 1
    assert torch.equal(images, before)


@pytest.mark.parametrize("augment", SETTINGS)
def test_the_stream_decides_everything(augment: Augmentation) -> None:
    images = pictures()
    state = torch.get_rng_state()
    assert torch.equal(augment(images, generator(2)), augment(images, generator(2)))
    assert torch.equal(torch.get_rng_state(), state)
    if augment != OFF:
        assert not torch.equal(augment(images, generator(2)), augment(images, generator(3)))


def test_a_flip_gives_the_image_or_its_mirror() -> None:
    images = pictures()
    out = Augmentation(shift=0, flip=True)(images, generator(0))
    mirrored = [torch.equal(one, image.flip(2)) for one, image in zip(out, images, strict=True)]
    kept = [torch.equal(one, image) for one, image in zip(out, images, strict=True)]
    assert all(a != b for a, b in zip(mirrored, kept, strict=True))
    assert any(mirrored)
    assert any(kept)


def test_a_shift_moves_by_at_most_its_pixels_and_fills_with_black() -> None:
    images = pictures()
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2))
    out = Augmentation(shift=2, flip=False)(images, generator(0))
    for one, whole in zip(out, padded, strict=True):
        places = [(y, x) for y in range(5) for x in range(5) if torch.equal(one, whole[:, y : y + 12, x : x + 12])]
        assert len(places) == 1


def test_an_erased_square_is_a_twentieth_to_a_quarter_of_the_image() -> None:
    images = torch.ones(200, 3, 32, 32)
    erased = (Augmentation(shift=0, flip=False, erase=1.0)(images, generator(0)) == 0).float().mean(dim=(1, 2, 3))
    assert float(erased.min()) > 0
    assert float(erased.max()) <= 0.25 * 1.2
