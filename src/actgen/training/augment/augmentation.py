"""Augmentation as a part of a recipe; what is random in it is drawn by timm's transforms, and by `moves.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import torch
from PIL import Image
from pydantic import AfterValidator, Field
from torch import Tensor

from ...core.errors import UserError
from ...core.options import Choices, Text, options

INTERPOLATIONS = ("bilinear", "bicubic", "random")
ERASE_MODES = ("const", "rand", "pixel")
PerImage = Callable[[Image.Image], Tensor]


def _policy(text: str) -> str:
    if text and text.split("-", 1)[0] not in ("rand", "augmix", "original", "originalr", "v0", "v0r", "3a"):
        raise ValueError(
            ": allowed is nothing or a policy of timm, such as rand-m9-mstd0.5-inc1, augmix-m5-w4-d2, original or v0."
        )
    return text


@options("training.augment")
class Augmentation:
    """What is done to every real and generated image anew each time it is trained on."""

    shift: Annotated[int, Field(ge=0, le=512, description="Largest move in pixels; edges are filled with black.")] = 2
    flip: Annotated[
        bool, Field(description="Mirror half of the images: a mirrored photograph is one, a mirrored digit or letter is none.")
    ] = False
    crop: Annotated[
        float,
        Field(
            ge=0.01,
            le=1,
            description="Below 1, for photographs: a random part of at least that share of the area and 3:4 to 4:3 sides "
            "(Szegedy et al. 2015), cut from the original when it is read; `shift` is then best 0.",
        ),
    ] = 1.0
    interpolation: Annotated[
        str, Choices(INTERPOLATIONS), Field(description="How such a part is resized, and what `policy` moves.")
    ] = "bilinear"
    policy: Annotated[
        Text,
        AfterValidator(_policy),
        Field(description="Random operations, as timm writes them: rand-m9-mstd0.5-inc1 is RandAugment (Cubuk et al. 2020)."),
    ] = ""
    randaugment: Annotated[
        int, Field(ge=0, le=10, description="RandAugment in short: so many operations an image, as rand-mM-nN-inc1 of timm.")
    ] = 0
    magnitude: Annotated[float, Field(ge=0, le=30, description="Their strength; M is a third of it, rounded.")] = 9.0
    jitter: Annotated[
        float, Field(ge=0, le=1, description="Random brightness, contrast and saturation; a policy takes its place.")
    ] = 0.0
    erase: Annotated[
        float, Field(ge=0, le=1, description="Chance that a rectangle is erased (Zhong et al. 2020), by timm's RandomErasing.")
    ] = 0.0
    erase_mode: Annotated[
        str, Choices(ERASE_MODES), Field(description="const: with the mean; rand: with a random colour; pixel: with noise.")
    ] = "const"

    def __post_init__(self) -> None:
        if self.policy and self.randaugment:
            raise UserError("training.augment.policy and training.augment.randaugment both say which operations. Give one.")

    @property
    def operations(self) -> str:
        """The random operations in timm's words; empty: none."""
        return f"rand-m{round(self.magnitude / 3)}-n{self.randaugment}-inc1" if self.randaugment else self.policy

    @property
    def reads_originals(self) -> bool:
        """Whether it cuts its part from the original, and not from what was fitted to the input size before."""
        return self.crop < 1

    def per_image(self, size: int, mean: Sequence[float], std: Sequence[float]) -> PerImage | None:
        """Return timm's transforms: an image -> uint8 [3, S, S], or float [3, S, S] where 1 is white; None if none is wanted.

        Their random numbers are those of the global streams of Python, NumPy and torch. `mean` and `std` of the classifier's
        normalisation are what is filled and erased by. `erase` makes it float, and may leave [0, 1].
        """
        if not (self.reads_originals or self.operations or self.jitter or self.erase):
            return None
        from timm.data import create_transform
        from timm.data.random_erasing import RandomErasing

        crop, operations, to_pixels = create_transform(
            size,
            is_training=True,
            separate=True,
            normalize=False,
            scale=(self.crop, 1.0),
            hflip=0.0,  # `moves.py`
            color_jitter=self.jitter or None,
            auto_augment=self.operations or None,
            interpolation=self.interpolation,
            mean=tuple(mean),
            std=tuple(std),
        )
        _keep_pillow_content(operations)
        erase = RandomErasing(self.erase, mode=self.erase_mode, device="cpu") if self.erase else None
        mean_C11, std_C11 = torch.tensor(mean).view(-1, 1, 1), torch.tensor(std).view(-1, 1, 1)

        def transform(image: Image.Image) -> Tensor:
            cut = crop(image) if self.reads_originals else image
            pixels: Tensor = to_pixels(operations(cut))
            if erase is None:
                return pixels
            erased: Tensor = erase((pixels / 255 - mean_C11) / std_C11)
            return erased * std_C11 + mean_C11

        return transform


def _keep_pillow_content(operations: object) -> None:
    """Let timm's RandAugment posterise to no bits, black, which it asks for at full strength and Pillow refuses since 12."""
    from timm.data.auto_augment import RandAugment, posterize

    def posterise(image: Image.Image, bits: int, **more: object) -> Image.Image:
        kept: Image.Image = posterize(image, bits, **more) if bits > 0 else Image.new(image.mode, image.size)
        return kept

    for policy in getattr(operations, "transforms", ()):
        for one in policy.ops if isinstance(policy, RandAugment) else ():
            one.aug_fn = posterise if one.aug_fn is posterize else one.aug_fn
