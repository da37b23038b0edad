"""Images one after the other -> shards of about the same size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from .contents import Entry

_BESIDE = 4096  # bytes: about what an image's columns and the headers of a tar take


def sharded(entries: Iterable[Entry], most: int) -> Iterator[tuple[int, Iterator[Entry]]]:
    """Yield (number, images) of shards of about `most` bytes, but of one image at least; read each before the next."""
    number = size = 0

    def shard(entry: Entry) -> int:
        nonlocal number, size
        more = len(entry.png) + _BESIDE
        if size and size + more > most:
            number, size = number + 1, 0
        size += more
        return number

    return groupby(entries, shard)
