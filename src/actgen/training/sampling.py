"""Which images an epoch's steps see: by their number, real ones at a share of their own, or every class equally often."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from ..core.options import Choices, options
from ..core.rng import permutation

IMAGE, CLASS = "image", "class"


@options("training.sampling")
class Sampling:
    """Which images an epoch sees how often."""

    by: Annotated[
        str,
        Choices((IMAGE, CLASS)),
        Field(description="Every image as often as any other, or every class, so that images of rare classes come more often."),
    ] = IMAGE
    real_share: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="So much of an epoch are real images, whatever the number of generated ones; 0: their share of all.",
        ),
    ] = 0.0

    def order(self, labels: Sequence[int], real: int, wanted: int, seed: int, epoch: int) -> list[int]:
        """Return `wanted` indices of images, the first `real` of which are real: a function of seed and epoch."""
        if not self.real_share or real == len(labels):
            return self._of(range(len(labels)), labels, wanted, seed, epoch)
        count = round(self.real_share * wanted)
        both = [
            *self._of(range(real), labels, count, seed, epoch, "real"),
            *self._of(range(real, len(labels)), labels, wanted - count, seed, epoch, "generated"),
        ]
        return [both[place] for place in permutation(len(both), seed, "order", epoch, "both")]

    def _of(self, images: Sequence[int], labels: Sequence[int], wanted: int, seed: int, epoch: int, *part: str) -> list[int]:
        """Return `wanted` of some images."""
        if self.by == IMAGE:
            return passes(images, wanted, seed, epoch, *part)
        members: dict[int, list[int]] = {}
        for index in images:
            members.setdefault(labels[index], []).append(index)
        turns = passes(sorted(members), wanted, seed, epoch, *part, "class")
        own = {label: iter(passes(few, turns.count(label), seed, epoch, *part, label)) for label, few in members.items()}
        return [next(own[label]) for label in turns]


def passes(images: Sequence[int], wanted: int, seed: int, epoch: int, *part: str | int) -> list[int]:
    """Return `wanted` of the images: shuffled passes over all of them, the last one cut short."""
    if not wanted:
        return []
    count = len(images)
    orders = (permutation(count, seed, "order", epoch, number, *part) for number in range(-(-wanted // count)))
    return [images[place] for order in orders for place in order][:wanted]
