"""Given masks: what is held of a guide image, on latents while it is generated and exactly in its pixels at the end.

    A in {0, 1} [S, S]      what is held: the object, or the scene around it
    M = [area mean of A > t]  on the latent grid; t = 0 for the object, so that no part of it is lost, 1/2 for the scene
    I' = A I + (1 - A) decode(x_0)                                                                            (1)

I is the guide image as the generator is shown it, so under A the result is I to the pixel, whatever the autoencoder loses.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ..data.datasets.imageset import fit_square

_THRESHOLDS = {"object": 0.0, "scene": 0.5}


@dataclass(frozen=True)
class Held:
    """What is held of one guide image: `pixels` bool [S, S] of its `image` of S x S pixels; `keep` as in `ImageGuidance`."""

    image: Image.Image
    pixels: npt.NDArray[np.bool_]
    keep: str

    @classmethod
    def of(cls, image: Image.Image, mask_HW: npt.NDArray[np.bool_], size: int, keep: str) -> Held:
        """Return what is held of `image`, of H x W pixels, when it is shown at `size`; `mask_HW` is true on its object."""
        held = mask_HW if keep == "object" else ~mask_HW
        return cls(fit_square(image, size), _covered(held, size, _THRESHOLDS[keep]), keep)

    def on_latents(self, height: int, width: int) -> Tensor:
        """Return M, float32 [1, h, w]."""
        share = F.adaptive_avg_pool2d(torch.from_numpy(self.pixels).float()[None], (height, width))
        return (share > _THRESHOLDS[self.keep]).float()

    @property
    def digest(self) -> str:
        """sha256 of A, row by row, a byte a pixel: what a manifest line says of the mask that it was generated with."""
        return hashlib.sha256(self.pixels.astype(np.uint8).tobytes()).hexdigest()

    def composite(self, picture: Image.Image) -> Image.Image:
        """Return (1)."""
        return Image.fromarray(np.where(self.pixels[:, :, None], np.asarray(self.image), np.asarray(picture)))


def _covered(held_HW: npt.NDArray[np.bool_], size: int, threshold: float) -> npt.NDArray[np.bool_]:
    """Return [size, size] of the centre square: whether more than the share `threshold` of a pixel's area is held."""
    height, width = held_HW.shape
    if (height, width) == (size, size):
        return held_HW
    short = min(height, width)
    left, top = (width - short) / 2, (height - short) / 2
    share = Image.fromarray(held_HW.astype(np.float32)).resize(
        (size, size), Image.Resampling.BOX, box=(left, top, left + short, top + short)
    )
    covered: npt.NDArray[np.bool_] = np.asarray(share) > threshold + 1e-6
    return covered
