"""Labelled images: the face that every source of real data shows, and the in-memory one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor


@runtime_checkable
class ImageSet(Protocol):
    """Labelled images with stable names.

    `image(i)` returns an RGB `PIL.Image`; `labels[i]` is an index into `class_names`; `keys[i]` names the image for ever
    (split and number, or the path inside the folder), so that a manifest can point back to it.
    """

    @property
    def class_names(self) -> Sequence[str]:
        """The K class names, as words."""
        ...

    @property
    def labels(self) -> Sequence[int]:
        """N labels in [0, K)."""
        ...

    @property
    def keys(self) -> Sequence[str]:
        """N unique names."""
        ...

    def image(self, index: int) -> Image.Image:
        """Return image `index` in RGB."""
        ...


@dataclass(frozen=True)
class ArrayImages:
    """Images in memory: `pixels` uint8, [N, H, W] (grey) or [N, H, W, 3] (RGB)."""

    pixels: npt.NDArray[np.uint8]
    labels: tuple[int, ...]
    class_names: tuple[str, ...]
    keys: tuple[str, ...]

    def image(self, index: int) -> Image.Image:
        """Return image `index` in RGB; grey pixels are repeated over the three channels."""
        return Image.fromarray(self.pixels[index]).convert("RGB")


@dataclass(frozen=True)
class Subset:
    """Some images of a parent set, in the order of `indices`."""

    parent: ImageSet
    indices: tuple[int, ...]

    @property
    def class_names(self) -> Sequence[str]:
        """The parent's class names (all of them, so that labels keep their meaning)."""
        return self.parent.class_names

    @cached_property
    def labels(self) -> tuple[int, ...]:
        """The labels of the chosen images."""
        labels = self.parent.labels
        return tuple(labels[i] for i in self.indices)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The parent's keys of the chosen images."""
        keys = self.parent.keys
        return tuple(keys[i] for i in self.indices)

    def image(self, index: int) -> Image.Image:
        """Return the chosen image `index`."""
        return self.parent.image(self.indices[index])


@dataclass(frozen=True)
class Renamed:
    """A parent set whose classes are called otherwise."""

    parent: ImageSet
    class_names: tuple[str, ...]

    @property
    def labels(self) -> Sequence[int]:
        """The parent's labels."""
        return self.parent.labels

    @property
    def keys(self) -> Sequence[str]:
        """The parent's keys."""
        return self.parent.keys

    def image(self, index: int) -> Image.Image:
        """Return the parent's image `index`."""
        return self.parent.image(index)


def names_digest(images: ImageSet) -> str:
    """Return sha256 over class names, keys and labels: the same images in the same order have the same digest."""
    names = json.dumps([list(images.class_names), list(images.keys), list(images.labels)])
    return hashlib.sha256(names.encode()).hexdigest()


@dataclass(frozen=True)
class View:
    """How images are looked at: a centre square of the `share` of their short side, resized by `interpolation`.

    0.875 at 224 pixels is what the field calls a resize to 256 and a centre crop of 224.
    """

    share: float = 1.0
    interpolation: str = "bilinear"


WHOLE = View()


def fit_square(image: Image.Image, size: int, view: View = WHOLE) -> Image.Image:
    """Return the centre square of `image` at `size` x `size` pixels (antialiased)."""
    if image.size == (size, size) and view.share == 1:
        return image
    side = min(image.size) * view.share
    left, top = ((whole - side) / 2 for whole in image.size)
    return image.resize((size, size), Image.Resampling[view.interpolation.upper()], box=(left, top, left + side, top + side))


def stack_pixels(images: Sequence[Image.Image]) -> Tensor:
    """Return RGB images of one size as uint8 [B, 3, H, W]."""
    array = np.stack([np.asarray(image, dtype=np.uint8) for image in images])
    return torch.from_numpy(array).permute(0, 3, 1, 2).contiguous()


def to_pixels(images: ImageSet, size: int, indices: Sequence[int] | None = None, view: View = WHOLE) -> Tensor:
    """Return images as one uint8 tensor [N, 3, size, size], each fitted by `fit_square`."""
    chosen = range(len(images.labels)) if indices is None else indices
    return stack_pixels([fit_square(images.image(i), size, view) for i in chosen])
