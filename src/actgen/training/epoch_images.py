"""The images of an epoch in their order, read and augmented: what a data-loading process does."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from ..core.rng import derive, streams
from ..data.mixture import Mixture
from .augment.augmentation import PerImage


class EpochImages(Dataset[tuple[Tensor, int]]):
    """Items are (pixels [3, S, S], label) of the places of an epoch: image `order[place]` of the mixture.

    What is random about an item is a function of (seed, epoch, place), whichever process makes it and after whatever stop.
    `transform` is `Augmentation.per_image`; `from_originals`: it is given whole images, and else those fitted to the input.
    """

    def __init__(
        self,
        mixture: Mixture,
        order: Sequence[int],
        transform: PerImage | None = None,
        *,
        seed: int,
        epoch: int,
        from_originals: bool = False,
    ) -> None:
        self.mixture, self.transform, self.seed, self.from_originals = mixture, transform, seed, from_originals
        self._order = torch.tensor(list(order), dtype=torch.int64).share_memory_()
        self._epoch = torch.tensor(epoch).share_memory_()

    @property
    def sizes(self) -> tuple[int, int, int]:
        """How many images there are, how many of them are real, and how many places."""
        return len(self.mixture), len(self.mixture.real.labels), len(self)

    def turn(self, epoch: int, order: Sequence[int]) -> None:
        """Be another epoch of as many places, in the data-loading processes that are there as well; between epochs only."""
        self._order.copy_(torch.tensor(list(order), dtype=torch.int64))
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        return self.__getitems__([place])[0]

    def __getitems__(self, places: Sequence[int]) -> list[tuple[Tensor, int]]:
        """Return the items of a batch; torch's loader asks for them together."""
        indices = self._order[list(places)].tolist()
        if self.transform is None:
            return [self.mixture[index] for index in indices]
        epoch, items = int(self._epoch), []
        with streams() as start:
            for place, index in zip(places, indices, strict=True):
                start(derive(self.seed, "augment", epoch, place))
                items.append((self.transform(self._image(index)), self.mixture.labels[index]))
        return items

    def _image(self, index: int) -> Image.Image:
        if self.from_originals:
            return self.mixture.original(index)
        return Image.fromarray(self.mixture[index][0].permute(1, 2, 0).numpy())
