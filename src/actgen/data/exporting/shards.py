"""Images one after the other -> shards of about the same size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from .contents import Entry


def sharded(entries: Iterable[Entry], most: int) -> Iterator[tuple[int, Iterator[Entry]]]:
    """Yield (number, images) of shards of at most `most` bytes of PNG, but of one image at least; read each before the next."""
    number = size = 0

    def shard(entry: Entry) -> int:
        nonlocal number, size
        if size and size + len(entry.png) > most:
            number, size = number + 1, 0
        size += len(entry.png)
        return number

    return groupby(entries, shard)
