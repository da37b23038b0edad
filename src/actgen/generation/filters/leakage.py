"""The leakage guard over a whole store: are test images among what is trained on?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...core.errors import UserError
from ...core.types import Snapshot
from ...data.store.stored import are_as_named, read_stored
from .chain import Chain
from .duplicates import Leakage
from .thumbnails import Album, look_at

_TOGETHER = 64
_NAMED = 20  # leaks that a message names; `actgen store leaks` lists all


@dataclass(frozen=True)
class Leak:
    """A stored image that is too near to a test image; `look`: how it was made to look different, "" if it was not."""

    key: str
    test_key: str
    distance: float
    look: str


def find_leaks(snapshot: Snapshot, test: Album, distance: float, first: int = 0) -> Iterator[Leak]:
    """Yield the images of a store, from number `first` on, that are nearer than `distance` to a test image."""
    for start in range(first, len(snapshot), _TOGETHER):
        rows = snapshot.rows[start : start + _TOGETHER]
        looks = look_at([read_stored(snapshot.folder, row) for row in rows])
        for row, near in zip(rows, test.nearest(looks), strict=True):
            if near.distance < distance:
                yield Leak(str(row["key"]), near.key, near.distance, near.look)


def refuse_leaks(chain: Chain, snapshot: Snapshot, count: int) -> None:
    """Raise `UserError` if a run's store holds test images, naming them.

    The first `count` images passed the guard when they were generated: they are looked at again only if their files are not
    those that the manifest names.
    """
    guard = next((one for one in chain.filters if isinstance(one, Leakage)), None)
    if guard is None:
        return
    first = count if count <= len(snapshot) and are_as_named(snapshot, count) else 0
    if first == len(snapshot):
        return
    if leaks := list(find_leaks(snapshot, guard.album, guard.distance, first)):
        named = ", ".join(f"{leak.key} is {leak.test_key}" for leak in leaks[:_NAMED])
        more = f" and {len(leaks) - _NAMED} more" if len(leaks) > _NAMED else ""
        raise UserError(
            f"{snapshot.folder} holds {len(leaks)} image(s) too near to test images: {named}{more}. Accuracy would "
            "be measured on what was trained on. Take them out, or start a new run: another --out."
        )
