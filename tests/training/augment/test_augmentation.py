"""Laws of augmentation: of batches, of single images by timm's transforms, and of the images of an epoch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from actgen.core.errors import UserError
from actgen.core.rng import generator, streams
from actgen.data.mixture import Mixture
from actgen.training.augment.augmentation import Augmentation
from actgen.training.augment.moves import Moves
from actgen.training.epoch_images import EpochImages
from tests.support.one_layer import pictures as real_pictures

PLACES = 32
HALF = (0.5,) * 3
SETTINGS = {
    "policy": Augmentation(policy="rand-m9-mstd0.5-inc1"),
    "crop": Augmentation(crop=0.3, interpolation="random"),
    "jitter": Augmentation(jitter=0.4),
    "erase": Augmentation(erase=0.5, erase_mode="pixel"),
    "all": Augmentation(crop=0.3, policy="augmix-m5-w3-d2", erase=0.5, interpolation="bicubic"),
}


def pictures(batch: int = 16, height: int = 12, width: int = 12) -> Tensor:
    return 0.1 + 0.9 * torch.rand((batch, 3, height, width), generator=generator(0, "pictures"))


# moves and mirrors


def test_nothing_moves_unless_asked() -> None:
    images = pictures()
    assert torch.equal(Moves.of_epoch(0, False, PLACES, 0, 0)(images, range(16)), images)


def test_moves_belong_to_places_and_not_to_batches() -> None:
    images, moves = pictures(), Moves.of_epoch(3, True, PLACES, 1, 2)
    whole, state = moves(images, range(8, 24)), torch.get_rng_state()
    parts = [
        Moves.of_epoch(3, True, PLACES, 1, 2)(images[start : start + 5], range(8, 24)[start : start + 5])
        for start in (0, 5, 10)
    ]
    assert torch.equal(torch.cat(parts), whole[:15])
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(Moves.of_epoch(3, True, PLACES, 1, 3)(images, range(8, 24)), whole)


@pytest.mark.parametrize("shape", [(16, 12, 12), (1, 12, 12), (3, 10, 14)])
def test_a_move_is_of_at_most_its_pixels_and_fills_with_black(shape: tuple[int, int, int]) -> None:
    images = pictures(*shape)
    before, (_, height, width) = images.clone(), shape
    out = Moves.of_epoch(2, False, PLACES, 0, 0)(images, range(len(images)))
    assert torch.equal(images, before)
    for one, whole in zip(out, F.pad(images, (2, 2, 2, 2)), strict=True):
        places = [(y, x) for y in range(5) for x in range(5) if torch.equal(one, whole[:, y : y + height, x : x + width])]
        assert len(places) == 1


def test_a_flip_gives_the_image_or_its_mirror() -> None:
    images = pictures()
    out = Moves.of_epoch(0, True, PLACES, 0, 0)(images, range(16))
    mirrored = [torch.equal(one, image.flip(2)) for one, image in zip(out, images, strict=True)]
    assert 0 < sum(mirrored) < 16
    assert all(flipped or torch.equal(one, image) for flipped, one, image in zip(mirrored, out, images, strict=True))


# one image, by timm


def photograph(width: int = 40, height: int = 30) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_without_any_there_is_no_transform() -> None:
    assert Augmentation(flip=True, shift=4).per_image(16, HALF, HALF) is None


@pytest.mark.parametrize("name", SETTINGS)
def test_an_image_has_the_input_size_and_the_streams_decide_everything(name: str) -> None:
    augment, state = SETTINGS[name], torch.get_rng_state()
    transform = augment.per_image(16, HALF, HALF)
    assert transform is not None
    image = photograph() if augment.reads_originals else photograph(16, 16)
    with streams() as start:
        outs = []
        for seed in (1, 1, 2, 3, 4):
            start(seed)
            outs.append(transform(image))
    assert torch.equal(torch.get_rng_state(), state)
    assert {out.shape for out in outs} == {(3, 16, 16)}
    assert outs[0].dtype == (torch.float32 if augment.erase else torch.uint8)
    assert torch.equal(outs[0], outs[1])
    assert not all(torch.equal(outs[0], out) for out in outs[2:])


def test_a_policy_of_full_strength_takes_every_image() -> None:
    """Posterising to no bits too, which Pillow refuses by itself."""
    transform = Augmentation(policy="rand-m10-n10-inc1").per_image(16, HALF, HALF)
    assert transform is not None
    with streams() as start:
        for seed in range(60):
            start(seed)
            assert transform(photograph(16, 16)).shape == (3, 16, 16)


def test_what_is_erased_is_the_mean_and_the_rest_as_it_was() -> None:
    mean, image = (0.2, 0.4, 0.6), photograph(16, 16)
    transform = Augmentation(erase=1.0).per_image(16, mean, (0.3, 0.2, 0.1))
    assert transform is not None
    plain = torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255
    with streams() as start:
        start(0)
        out = transform(image)
    erased = (out - plain).abs().amax(dim=0) > 1e-5
    assert 0.01 <= float(erased.float().mean()) <= 0.4
    torch.testing.assert_close(out[:, erased], torch.tensor(mean).view(3, 1).expand(3, int(erased.sum())))


def test_operations_are_said_once() -> None:
    assert Augmentation(randaugment=2, magnitude=27).operations == "rand-m9-n2-inc1"
    with pytest.raises(UserError, match=r"policy and training\.augment\.randaugment both"):
        Augmentation(randaugment=2, policy="rand-m9")
    with pytest.raises(UserError, match=r"training\.augment\.policy = 'strong'.*allowed is nothing or a policy of timm"):
        Augmentation(policy="strong")


# the images of an epoch


@pytest.mark.parametrize("name", SETTINGS)
def test_items_are_the_same_in_any_process_and_any_batch(name: str) -> None:
    augment, order = SETTINGS[name], [3, 1, 3, 7, 0, 3]
    images = EpochImages(
        Mixture(real_pictures(8), size=8),
        order,
        augment.per_image(8, HALF, HALF),
        seed=1,
        epoch=2,
        from_originals=augment.reads_originals,
    )
    alone = torch.stack([images[place][0] for place in range(6)])
    for workers, size in ((0, 4), (2, 1), (1, 6)):
        loaded = [pixels for pixels, _ in DataLoader(images, batch_size=size, num_workers=workers)]
        assert torch.equal(torch.cat(loaded), alone)
    assert [images[place][1] for place in range(6)] == [images.mixture.labels[index] for index in order]
    assert len({alone[place].numpy().tobytes() for place in (0, 2, 5)}) > 1  # one image at three places


def test_an_epoch_without_transforms_reads_what_is_fitted(tmp_path: Path) -> None:
    mixture = Mixture(real_pictures(4), size=8)
    images = EpochImages(mixture, [2, 0], seed=0, epoch=0)
    assert len(images) == 2
    assert torch.equal(images[0][0], mixture[2][0])
