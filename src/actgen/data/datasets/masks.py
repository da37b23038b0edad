"""Masks of real images: which pixels show the object, as somebody who knows has said (`masks` in a recipe).

Three forms: a folder of image files by the names of the images, an array for all of them, or "foreground", computed from the
image where objects lie on black.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from ...core.errors import UserError
from ...core.text import brief, visible
from .decoding import guarded, read_mask
from .imageset import ImageSet
from .names import printable

FOREGROUND = "foreground"
DARK = 8
"""Grey levels of 255: "foreground" is what is brighter in any channel."""

Mask = npt.NDArray[np.bool_]
_TRIED = 10_000  # images whose masks are read when they are opened; those of more are refused when they are used
_LAYOUT = (
    "masks = DIR is a folder with a mask image for every training image, of the same name but ending in .png: "
    "DIR/train/cat/7.png or DIR/cat/7.png for train/cat/7.jpg; masks = FILE.npy holds an array [N, H, W] of all training "
    f'images in their order; masks = "{FOREGROUND}" takes what is not black.'
)


class Masks(Protocol):
    """The masks of a set of images."""

    def of(self, key: str, image: Image.Image) -> Mask:
        """Return [H, W], true where `image`, called `key`, shows its object; `UserError` unless there is one of its size."""
        ...


@dataclass(frozen=True)
class ForegroundMasks:
    """What is brighter than `dark`: objects on black."""

    dark: int = DARK

    def of(self, key: str, image: Image.Image) -> Mask:
        """Return where the image is not black."""
        bright: Mask = np.asarray(image.convert("RGB")).max(axis=2) > self.dark
        return bright


@dataclass(frozen=True)
class FolderMasks:
    """A file for every image, named as the image is; what is not 0 (black) in it shows the object."""

    folder: Path

    @cached_property
    def root(self) -> Path:
        """The folder itself, links resolved."""
        return self.folder.resolve()

    def path(self, key: str) -> Path:
        """Return the file of the image `key`; `UserError` if it is missing."""
        name = PurePosixPath(key)
        tried = [
            self.folder / f"{name.with_suffix('')}.png",
            self.folder / f"{name.relative_to(name.parts[0]).with_suffix('')}.png",
        ]
        for path in tried:
            if path.is_file() and path.resolve().is_relative_to(self.root):
                return path
        raise UserError(
            f"masks = {printable(self.folder)}: there is no mask for the image {visible(key)}; it would be "
            f"{' or '.join(map(printable, tried))}. {_LAYOUT}"
        )

    def of(self, key: str, image: Image.Image) -> Mask:
        """Return what the image's file says."""
        path = self.path(key)
        return _fitting(guarded(read_mask, path), image, printable(path), key)


@dataclass(frozen=True)
class StackedMasks:
    """An array [N, H, W] for the images `rows` names; what is not 0 shows the object."""

    name: str
    stack: npt.NDArray[np.generic]
    rows: Mapping[str, int]

    def of(self, key: str, image: Image.Image) -> Mask:
        """Return the image's part of the array."""
        if key not in self.rows:
            raise UserError(f"masks = {visible(self.name)}: it has no mask of the image {visible(key)}. {_LAYOUT}")
        return _fitting(np.asarray(self.stack[self.rows[key]] != 0), image, self.name, key)


def open_masks(spec: str, images: ImageSet, all_keys: Sequence[str] = ()) -> Masks:
    """Return the masks that `spec` names for the training images in use.

    `all_keys`: those of the whole training split in its order, if `images` is a part of it. `UserError` if an image has none,
    or one of another size (read and compared for the first 10,000 images, and for others when they are used).
    """
    keys = tuple(images.keys)
    if spec == FOREGROUND:
        _refuse_bright_ground(images)
        return ForegroundMasks()
    masks = _open(spec, tuple(all_keys) or keys)
    if isinstance(masks, FolderMasks):
        _refuse_shared(masks, keys)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda index: masks.of(keys[index], images.image(index)), range(min(len(keys), _TRIED))))
    return masks


def _open(spec: str, keys: Sequence[str]) -> FolderMasks | StackedMasks:
    path = Path(spec).expanduser()
    if path.is_dir():
        return FolderMasks(path)
    if not path.is_file() or path.suffix != ".npy":
        raise UserError(f"masks = {brief(spec)}: there is no such folder or .npy file. {_LAYOUT}")
    try:
        stack: npt.NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"masks = {printable(path)} cannot be read: {visible(str(error))}. {_LAYOUT}") from error
    if stack.ndim != 3 or stack.dtype.kind not in "bui":
        raise UserError(
            f"masks = {printable(path)} holds {stack.dtype} of shape {stack.shape}, not whole numbers or bool "
            f"[N, H, W]. {_LAYOUT}"
        )
    if len(stack) != len(keys):
        raise UserError(
            f"masks = {printable(path)} holds {len(stack)} masks, but the data have {len(keys)} training images. {_LAYOUT}"
        )
    return StackedMasks(printable(path), stack, {key: row for row, key in enumerate(keys)})


def _fitting(mask: Mask, image: Image.Image, name: str, key: str) -> Mask:
    height, width = mask.shape
    if (width, height) != image.size:
        raise UserError(
            f"{name} is a mask of {width} x {height} pixels, but the image {visible(key)} has {image.width} x "
            f"{image.height} (those of 28 x 28 in MNIST's format are padded by 2 on each side). Give masks of the "
            "images' size."
        )
    return mask


def _refuse_shared(masks: FolderMasks, keys: Sequence[str]) -> None:
    """Raise `UserError` if two images have the same file, as a.jpg and a.png would."""
    path, count = Counter(masks.path(key) for key in keys).most_common(1)[0]
    if count > 1:
        raise UserError(
            f"{printable(path)} would be the mask of {count} images, which differ only in their ending or split. "
            "Rename the images."
        )


def _refuse_bright_ground(images: ImageSet) -> None:
    """Raise `UserError` unless most of the outermost pixels are black, in a few images."""
    few = range(0, len(images.labels), max(1, len(images.labels) // 64))
    masks = [ForegroundMasks().of(images.keys[index], images.image(index)) for index in few]
    frames = [np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]) for mask in masks]
    if (share := float(np.concatenate(frames).mean())) > 0.5:
        raise UserError(
            f'masks = "{FOREGROUND}" is for objects on black, but {share:.0%} of the outermost pixels of these '
            f"images are not black. Give masks of your own. {_LAYOUT}"
        )
