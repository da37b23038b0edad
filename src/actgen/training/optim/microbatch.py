"""Too little memory in training: a batch passes the model in parts, and the optimiser's step stays what it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from ...core.errors import UserError
from ...core.memory import is_out_of_memory

_Out = TypeVar("_Out")
FEWEST = 2  # images in a part: BatchNorm needs two


class MicroBatches:
    """In how many parts a batch passes the model: as many as are given, and twice as many whenever memory does not suffice.

    The gradient of a batch is the sum over its parts, each weighted by its share of the images: up to rounding that of the
    whole batch, but for what looks at a batch as a whole (BatchNorm) or generates anew in every pass (dropout).
    """

    def __init__(self, parts: int = 1, *, may_split: bool = True) -> None:
        """`may_split`: whether there may be more; not where every pass has to meet those of other processes."""
        self.parts, self.may_split = parts, may_split

    def run(
        self, step: Callable[[Tensor, Tensor, float, bool], _Out], images: Tensor, targets: Tensor, begin: Callable[[], None]
    ) -> list[_Out]:
        """Return what `step(images, targets, share, last)` returns for each part; it is to add to the gradients.

        `begin` clears them before a first or a further try. `UserError` if not even `FEWEST` images fit.
        """
        while True:
            try:
                begin()
                return self._try(step, images, targets)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if not self.may_split:
                    raise UserError(
                        f"{len(images)} images of {images.shape[-1]} pixels do not fit into memory in training. "
                        "Several processes do not split a batch by themselves: give a larger training.accumulate, or more "
                        "processes."
                    ) from error
                if len(images) // (2 * self.parts) < FEWEST:
                    few = -(-len(images) // self.parts)
                    raise UserError(
                        f"{few} images of {images.shape[-1]} pixels do not fit into memory in training. Give a "
                        "smaller model.image_size or another --model."
                    ) from error
            self.parts *= 2  # outside of the except block, which keeps the failed pass alive
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _try(self, step: Callable[[Tensor, Tensor, float, bool], _Out], images: Tensor, targets: Tensor) -> list[_Out]:
        pairs = zip(images.tensor_split(self.parts), targets.tensor_split(self.parts), strict=True)
        return [
            step(some, of, len(some) / len(images), number == self.parts) for number, (some, of) in enumerate(pairs, start=1)
        ]
