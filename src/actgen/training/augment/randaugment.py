"""RandAugment (Cubuk et al. 2020) of a batch: every image draws its own operations.

The operations and their strengths are those of torchvision's `RandAugment`; images of a batch that drew the same operation go
through it together, which is several times faster than one by one and gives the same images.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as TF

from ..parallel.part import Part, all_of

STRONGEST = 30

Operation = Callable[[Tensor, float], Tensor]  # [N, 3, H, W] in [0, 1] and a signed strength in [-1, 1]


def _moved(
    images: Tensor, angle: float = 0.0, across: float = 0.0, down: float = 0.0, shear: tuple[float, float] = (0.0, 0.0)
) -> Tensor:
    """Rotate, move by a part of the side, or shear; edges are filled with black."""
    height, width = images.shape[-2:]
    moved: Tensor = TF.affine(
        images,
        angle=angle,
        translate=[round(across * width), round(down * height)],
        scale=1.0,
        shear=[math.degrees(math.atan(part)) for part in shear],
        interpolation=InterpolationMode.BILINEAR,
        fill=None,
    )
    return moved


SIGNED: dict[str, Operation] = {
    "shear across": lambda images, s: _moved(images, shear=(0.3 * s, 0.0)),
    "shear down": lambda images, s: _moved(images, shear=(0.0, 0.3 * s)),
    "move across": lambda images, s: _moved(images, across=150 / 331 * s),
    "move down": lambda images, s: _moved(images, down=150 / 331 * s),
    "rotate": lambda images, s: _moved(images, angle=30 * s),
    "brightness": lambda images, s: TF.adjust_brightness(images, 1 + 0.9 * s),
    "colour": lambda images, s: TF.adjust_saturation(images, 1 + 0.9 * s),
    "contrast": lambda images, s: TF.adjust_contrast(images, 1 + 0.9 * s),
    "sharpness": lambda images, s: TF.adjust_sharpness(images, 1 + 0.9 * s),
}
UNSIGNED: dict[str, Operation] = {
    "identity": lambda images, s: images,
    "posterise": lambda images, s: TF.posterize(images, 8 - round(4 * s)),
    "solarise": lambda images, s: TF.solarize(images, 1 - s),
    "autocontrast": lambda images, s: TF.autocontrast(images),
    "equalise": lambda images, s: TF.equalize(images),
}
_OPERATIONS = [*SIGNED.values(), *UNSIGNED.values()]


def rand_augment(images: Tensor, operations: int, magnitude: float, rng: torch.Generator, part: Part | None = None) -> Tensor:
    """[B, 3, S, S] in [0, 1] -> the same shape after `operations` random operations an image, each of strength
    `magnitude` / 30 and of random direction. `part`: see `Augmentation`.
    """
    part = all_of(len(images)) if part is None else part
    for _ in range(operations):
        which = torch.randint(len(_OPERATIONS), (part.whole,), generator=rng)[list(part.rows)]
        sign = torch.randint(2, (part.whole,), generator=rng)[list(part.rows)]
        sign[which >= len(SIGNED)] = 1
        out = images.clone()
        for number, forwards in torch.stack([which, sign], dim=1).unique(dim=0).tolist():
            rows = ((which == number) & (sign == forwards)).nonzero()[:, 0].to(images.device)
            strength = magnitude / STRONGEST * (1 if forwards else -1)
            out[rows] = _OPERATIONS[number](images[rows], strength)
        images = out
    return images
