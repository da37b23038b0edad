"""store -> batch: real images and one immutable snapshot of generated ones, as a torch dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from ..core.errors import UserError
from ..core.rows import ManifestLine
from ..core.types import Snapshot
from .datasets.decoding import read_image
from .datasets.imageset import ImageSet, fit_square

CACHE_BYTES = 1 << 30  # real images that take no more than this are best kept in memory


class Mixture(Dataset[tuple[Tensor, int]]):
    """Items are (uint8 [3, S, S], label): first the real images, then those of the snapshot.

    Real images are decoded on access, unless `cache` holds them (uint8 [N, 3, S, S], in the order of `real`). Items are centre
    squares; `original` is the whole image.
    """

    def __init__(
        self,
        real: ImageSet,
        snapshot: Snapshot | None = None,
        *,
        size: int,
        cache: Tensor | None = None,
    ) -> None:
        self.real, self.size, self._count = real, size, len(real.labels)
        self.rows: Sequence[ManifestLine] = () if snapshot is None else snapshot.rows
        self.folder = Path("." if snapshot is None else snapshot.folder)
        self.labels = [*real.labels, *(() if snapshot is None else snapshot.labels)]
        if min(self.labels, default=0) < 0:
            raise UserError(f"{self.folder} holds an image without a label. `actgen store verify {self.folder}` names it.")
        self.cache = cache

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if index < self._count and self.cache is not None:
            return self.cache[index], self.labels[index]
        array = np.array(fit_square(self.original(index), self.size), dtype=np.uint8)
        return torch.from_numpy(array).permute(2, 0, 1), self.labels[index]

    def original(self, index: int) -> Image.Image:
        """Return an image as it is, RGB."""
        return self.real.image(index) if index < self._count else self._generated(index - self._count)

    def _generated(self, number: int) -> Image.Image:
        return read_image(self.folder / self.rows[number]["file_name"])
