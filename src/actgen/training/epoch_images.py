"""The images of an epoch in their order, read and augmented: what a data-loading process does."""

from __future__ import annotations

from collections.abc import Sequence

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
        self.mixture, self.order, self.transform = mixture, order, transform
        self.seed, self.epoch, self.from_originals = seed, epoch, from_originals

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        return self.__getitems__([place])[0]

    def __getitems__(self, places: Sequence[int]) -> list[tuple[Tensor, int]]:
        """Return the items of a batch; torch's loader asks for them together."""
        if self.transform is None:
            return [self.mixture[self.order[place]] for place in places]
        with streams() as start:
            items = []
            for place in places:
                start(derive(self.seed, "augment", self.epoch, place))
                items.append((self.transform(self._image(self.order[place])), self.mixture.labels[self.order[place]]))
            return items

    def _image(self, index: int) -> Image.Image:
        if self.from_originals:
            return self.mixture.original(index)
        return Image.fromarray(self.mixture[index][0].permute(1, 2, 0).numpy())
