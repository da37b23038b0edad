"""Masks of real images: what is read is what was given, and what does not fit is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from actgen.core.errors import UserError
from actgen.data.datasets.folder import read_folder_split
from actgen.data.datasets.imageset import ArrayImages
from actgen.data.datasets.masks import FOREGROUND, open_masks
from actgen.data.datasets.sources import BUNDLED, load_data

KEYS = ("train/cat/a.jpg", "train/dog/b.jpg")


def squares(count: int = 2, size: int = 6, ground: int = 0) -> ArrayImages:
    """Return grey images with a bright square in the middle."""
    pixels = np.full((count, size, size), ground, dtype=np.uint8)
    pixels[:, 2:4, 2:4] = 200
    return ArrayImages(pixels, tuple(range(count)), ("cat", "dog")[:count], KEYS[:count])


def some(seed: int, height: int = 6, width: int = 6) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 2, (height, width), dtype=np.uint8)


def write(path: Path, mask: npt.NDArray[np.uint8], mode: str = "L") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).convert(mode).save(path)


@pytest.mark.parametrize("prefix", ["train/", ""])
@pytest.mark.parametrize("mode", ["L", "1", "RGB"])
def test_a_folder_has_a_file_for_every_image(tmp_path: Path, prefix: str, mode: str) -> None:
    wanted = {key: some(number) for number, key in enumerate(KEYS)}
    for key, mask in wanted.items():
        write(tmp_path / (prefix + key.removeprefix("train/").replace(".jpg", ".png")), 255 * mask, mode)
    images = squares()
    masks = open_masks(str(tmp_path), images)
    for number, key in enumerate(KEYS):
        assert np.array_equal(masks.of(key, images.image(number)), wanted[key] == 1)


def test_the_colours_of_a_palette_are_numbers_of_which_only_0_is_outside(tmp_path: Path) -> None:
    image = Image.fromarray(some(3) * 2, "P")
    image.putpalette([0, 0, 0, 9, 9, 9, 0, 0, 0])  # number 2 is black, too
    for key in KEYS:
        path = tmp_path / key.replace(".jpg", ".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    assert np.array_equal(open_masks(str(tmp_path), squares()).of(KEYS[0], squares().image(0)), some(3) == 1)


def test_an_array_is_in_the_order_of_all_training_images(tmp_path: Path) -> None:
    stack = np.stack([some(0), some(1)])
    np.save(tmp_path / "all.npy", stack)
    part = ArrayImages(squares().pixels[1:], (0,), ("dog",), KEYS[1:])
    masks = open_masks(str(tmp_path / "all.npy"), part, KEYS)
    assert np.array_equal(masks.of(KEYS[1], part.image(0)), stack[1] == 1)
    with pytest.raises(UserError, match="holds 2 masks, but the data have 1 training images"):
        open_masks(str(tmp_path / "all.npy"), part)


def test_the_foreground_is_what_is_not_black() -> None:
    images = squares()
    mask = open_masks(FOREGROUND, images).of(KEYS[0], images.image(0))
    assert mask.sum() == 4
    assert mask[2:4, 2:4].all()
    with pytest.raises(UserError, match=r"is for objects on black, but 100% of the outermost pixels"):
        open_masks(FOREGROUND, squares(ground=100))


def test_the_bundled_garments_have_a_foreground() -> None:
    images = load_data(BUNDLED).train
    masks = open_masks(FOREGROUND, images)
    shares = [masks.of(images.keys[i], images.image(i)).mean() for i in range(0, len(images.labels), 500)]
    assert all(0.02 < share < 0.9 for share in shares), shares


def test_what_is_missing_or_of_another_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no such folder or .npy file"):
        open_masks(str(tmp_path / "none"), squares())
    write(tmp_path / "train/cat/a.png", some(0))
    with pytest.raises(
        UserError, match=r"there is no mask for the image train/dog/b.jpg; it would be .*train/dog/b.png or .*dog"
    ):
        open_masks(str(tmp_path), squares())
    write(tmp_path / "train/dog/b.png", some(0, 6, 5))
    with pytest.raises(UserError, match=r"b.png is a mask of 5 x 6 pixels, but the image train/dog/b.jpg has 6 x 6"):
        open_masks(str(tmp_path), squares())
    write(tmp_path / "train/dog/b.png", some(0), "LA")
    with pytest.raises(UserError, match="transparency"):
        open_masks(str(tmp_path), squares())


@pytest.mark.parametrize(
    "stack", [np.zeros((2, 6)), np.zeros((2, 6, 6)), np.zeros((2, 5, 6), bool), np.array([{}], dtype=object)]
)
def test_so_is_an_array_that_is_no_stack_of_masks(tmp_path: Path, stack: npt.NDArray[np.generic]) -> None:
    np.save(tmp_path / "m.npy", stack)
    with pytest.raises(UserError, match=r"m.npy (holds|cannot be read|is a mask of 6 x 5)"):
        open_masks(str(tmp_path / "m.npy"), squares())


def test_two_images_cannot_share_a_file(tmp_path: Path) -> None:
    for name in ("cat/a.png", "cat/a.bmp", "dog/b.png"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        squares().image(0).save(tmp_path / "data" / name)
    write(tmp_path / "masks/cat/a.png", some(0))
    write(tmp_path / "masks/dog/b.png", some(0))
    with pytest.raises(UserError, match="would be the mask of 2 images"):
        open_masks(str(tmp_path / "masks"), read_folder_split(tmp_path / "data", "train"))


def test_a_link_out_of_the_folder_is_no_mask(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere.png", some(0))
    for key in KEYS:
        path = tmp_path / "masks" / key.replace(".jpg", ".png")
        path.parent.mkdir(parents=True)
        path.symlink_to(tmp_path / "elsewhere.png")
    with pytest.raises(UserError, match="there is no mask"):
        open_masks(str(tmp_path / "masks"), squares())
