"""Near-duplicates: of test images (leakage: accuracy would be measured on what was trained on), and of what is stored."""

from __future__ import annotations

from functools import cached_property

from ...core.types import Sample
from ...data.datasets.imageset import ImageSet
from .base import KEPT, FilterVerdict, FilterView
from .thumbnails import Album, Near, look_at


class Leakage:
    """Refuses what is nearer than `distance` to a test image of any class. The test images are described when first needed."""

    name = "leakage"

    def __init__(self, distance: float, test: ImageSet) -> None:
        self.distance, self.test = distance, test

    @cached_property
    def album(self) -> Album:
        """The test images."""
        return Album.of(self.test)

    def judge(self, sample: Sample, view: FilterView) -> FilterVerdict:
        """Look for the picture among the test images."""
        (near,) = self.album.nearest(look_at([sample.image]))
        return _verdict(self.name, near, self.distance, "the test image")


class Duplicates:
    """Refuses what is nearer than `distance` to a stored image of its class."""

    name = "duplicates"

    def __init__(self, distance: float) -> None:
        self.distance = distance

    def judge(self, sample: Sample, view: FilterView) -> FilterVerdict:
        """Look for the picture among the stored ones of its class."""
        stored = view.stored.get(sample.request.label)
        if stored is None:
            return KEPT
        (near,) = stored.nearest(look_at([sample.image]))
        return _verdict(self.name, near, self.distance, "the stored image")


def _verdict(name: str, near: Near, distance: float, whose: str) -> FilterVerdict:
    if near.distance >= distance:
        return KEPT
    look = f", {near.look}" if near.look else ""
    return FilterVerdict(filter=name, reason=f"near to {whose} {near.key}{look} ({near.distance:.3f})", score=near.distance)
