"""What one of several processes does of every batch: some rows of it, the same pictures as if there were one process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...core.parallel import ranks


@dataclass(frozen=True)
class Part:
    """The `rows` of a batch of `whole` images; the first `guests` of them only lend their pixels to the next (`mixing.py`)."""

    whole: int
    rows: tuple[int, ...]
    guests: int = 0

    @property
    def share(self) -> float:
        """How much of the batch this is, in (0, 1]."""
        return (len(self.rows) - self.guests) / self.whole

    def of(self, order: Sequence[int]) -> list[int]:
        """Return what is to be read of whole batches, one after the other in `order`."""
        return [order[start + row] for start in range(0, len(order), self.whole) for row in self.rows]


def all_of(count: int) -> Part:
    """Return the whole of a batch."""
    return Part(count, tuple(range(count)))


def own_part(batch_size: int, *, mixed: bool) -> Part:
    """Return this rank's part of a batch, all of it with one process. `mixed`: each image is mixed with the one before it."""
    if ranks.size() == 1:
        return all_of(batch_size)
    if batch_size < ranks.size():
        raise ranks.Shared(
            f"training.batch_size = {batch_size} leaves nothing to some of {ranks.size()} processes. Give one "
            "image or more for each."
        )
    rows = ranks.share(batch_size)
    return Part(batch_size, ((rows.start - 1) % batch_size, *rows), 1) if mixed else Part(batch_size, tuple(rows))
