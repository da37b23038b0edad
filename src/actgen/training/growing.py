"""A dataset that grows between epochs, also in data-loading processes that live longer than an epoch."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..core.errors import UserError
from ..data.datasets.imageset import ImageSet, Subset
from ..data.mixture import Mixture
from ..data.store.store import MANIFEST, Store
from .augment.augmentation import Augmentation
from .epoch import steps_per_epoch
from .epoch_images import EpochImages
from .options import TrainingOptions

Transform = Callable[[Tensor], Any]


class Growing(Dataset[tuple[Any, int]]):
    """The images of one epoch in their order: items are (uint8 [3, S, S], label), or what `transform` makes of the pixels.

    An epoch is that of `actgen train`: the real images that are not `held_out_keys` (keys; they come with epoch `until`), and
    the first so many images of the store; as many items as its steps take, shuffled by seed and epoch. With
    `training.epoch_length` = "real" the length never changes, which trainers rely on. The last `extra` of the real images make
    it no longer.

    `at` says which epoch it is, in shared memory: a data-loading process that holds a copy of this dataset sees it with its
    next item, and reads the new lines of the store from its folder. To be called between epochs only.
    """

    def __init__(
        self,
        real: ImageSet,
        store: Path,
        *,
        size: int,
        options: TrainingOptions,
        seed: int,
        held_out_keys: Collection[str] = (),
        until: int = 0,
        transform: Transform | None = None,
        extra: int = 0,
    ) -> None:
        self.real, self.store, self.size, self.options, self.seed = real, store, size, options, seed
        self.until, self.transform, self.extra = until, transform, extra
        self._there = tuple(row for row, key in enumerate(real.keys) if key not in held_out_keys)
        self._now = torch.zeros(2, dtype=torch.int64).share_memory_()
        self._opened: tuple[tuple[int, int], EpochImages] | None = None

    @property
    def epoch(self) -> int:
        """The epoch of which these are the images."""
        return self.now[0]

    @property
    def now(self) -> tuple[int, int]:
        """The epoch, and how many images of the store belong to it."""
        epoch, generated = self._now.tolist()
        return epoch, generated

    def at(self, epoch: int, generated: int) -> None:
        """Be the images of `epoch`, the first `generated` ones of the store among them."""
        self._now.copy_(torch.tensor([epoch, generated]))

    def rows(self, epoch: int) -> tuple[int, ...]:
        """Return the real images of an epoch, as indices."""
        return self._there if epoch < self.until else tuple(range(len(self.real.labels)))

    def __len__(self) -> int:
        epoch, generated = self.now
        images = len(self.rows(epoch)) + generated
        return steps_per_epoch(self.options, len(self.real.labels) - self.extra, images) * self.options.batch_size

    def __getitem__(self, place: int) -> tuple[Any, int]:
        pixels, label = self.open()[place]
        return pixels if self.transform is None else self.transform(pixels), label

    def open(self) -> EpochImages:
        """Return the images of the epoch, in their order."""
        now = self.now
        if self._opened is None or self._opened[0] != now:
            mixture = self._mixture(*now)
            self._opened = now, self._epoch(mixture, now[0])
        return self._opened[1]

    def _epoch(self, mixture: Mixture, epoch: int) -> EpochImages:
        """Return the items: of the recipe's augmentation only the cut, which has to be made when an image is read."""
        cut = Augmentation(shift=0, crop=self.options.augment.crop, interpolation=self.options.augment.interpolation)
        transform = cut.per_image(self.size, (0.5,) * 3, (0.5,) * 3)
        order = self._order(mixture, epoch)
        return EpochImages(mixture, order, transform, seed=self.seed, epoch=epoch, from_originals=cut.reads_originals)

    def _order(self, mixture: Mixture, epoch: int) -> list[int]:
        return self.options.sampling.order(mixture.labels, len(mixture.real.labels), len(self), self.seed, epoch)

    def _mixture(self, epoch: int, generated: int) -> Mixture:
        snapshot = Store(self.store).snapshot(generated) if generated else None
        if snapshot is not None and len(snapshot) < generated:
            raise UserError(
                f"{self.store / MANIFEST} has {len(snapshot)} lines, but {generated} images were generated. Put the file "
                "back as it was."
            )
        return Mixture(Subset(self.real, self.rows(epoch)), snapshot, size=self.size)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}  # a process that is spawned opens it itself
