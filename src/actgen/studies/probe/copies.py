"""Near-copies of training images among generated images, a sign that a generator has learned pictures by heart."""

from __future__ import annotations

from collections.abc import Sequence

from ...data.datasets.imageset import ImageSet
from ...generation.filters.options import Filters
from ...generation.filters.thumbnails import Album, Near, describe, look_at, thumbnails

DISTANCE = Filters().leakage_distance
MOST_SEARCHED, MOST_NAMED = 20_000, 10
_TOGETHER = 64


def nearest_to(album: Album, images: ImageSet) -> list[Near]:
    """Return the nearest picture of the album to each image, looked at as it is, mirrored and within a border."""
    found: list[Near] = []
    for start in range(0, len(images.labels), _TOGETHER):
        rows = range(start, min(start + _TOGETHER, len(images.labels)))
        found += album.nearest(look_at([images.image(i) for i in rows]))
    return found


def add_all(album: Album, images: ImageSet) -> None:
    """Put images into an album."""
    for start in range(0, len(images.keys), _TOGETHER):
        rows = range(start, min(start + _TOGETHER, len(images.keys)))
        album.add([images.keys[i] for i in rows], describe(thumbnails([images.image(i) for i in rows])))


def copied(near: Sequence[Near]) -> int:
    """Return how many are as near as copies are (`filters.leakage_distance`)."""
    return sum(one.distance < DISTANCE for one in near)


def nearest_pairs(keys: Sequence[str], near: Sequence[Near], most: int = MOST_NAMED) -> tuple[dict[str, object], ...]:
    """Return the nearest pairs: key of the drawing, key of the training image, their distance, and how it was looked at."""
    order = sorted(range(len(near)), key=lambda place: near[place].distance)[:most]
    return tuple(
        {"key": keys[place], "training_key": near[place].key, "distance": near[place].distance, "look": near[place].look}
        for place in order
    )
