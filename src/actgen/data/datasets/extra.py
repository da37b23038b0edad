"""More labelled real images than a recipe has: the control that generated images are measured against."""

from __future__ import annotations

from dataclasses import replace
from itertools import zip_longest
from typing import Annotated

from pydantic import Field

from ...core import rng
from ...core.errors import UserError
from ...core.options import options
from .imageset import ImageSet, Subset
from .sources import RealData


@options("extra")
class Extra:
    """More labelled real images, as a control; what counts optimiser steps and generated images goes by the recipe's own."""

    real: Annotated[
        int,
        Field(
            ge=0,
            le=10**9,
            description="So many more, from those of the training split that the recipe does not use, as many of each class as "
            "can be, by a lot of the run's seed; 0: none.",
        ),
    ] = 0


def with_extra(data: RealData, whole: ImageSet, extra: Extra, seed: int) -> RealData:
    """Return `data` with the extra images after its own, and what is left of the training split, `whole`, as its `rest`.

    A pure function of keys, labels and `seed`; with the same seed a smaller number is a part of a larger one. No image that is
    measured on is among them. `UserError` if there are fewer.
    """
    used = {*data.train.keys, *(() if data.test is None else data.test.keys)}
    unused = [index for index, key in enumerate(whole.keys) if key not in used]
    if extra.real > len(unused):
        raise UserError(
            f"extra.real = {extra.real}: the training split has {len(unused)} images that the recipe does not use "
            "already. Give so many or fewer, or train on fewer."
        )
    if not extra.real:
        return replace(data, rest=Subset(whole, tuple(unused)))
    more = [unused[place] for place in _turns(Subset(whole, tuple(unused)), seed)[: extra.real]]
    own = {key: index for index, key in enumerate(whole.keys)}
    train = Subset(whole, (*(own[key] for key in data.train.keys), *more))
    left = sorted(set(unused) - set(more))
    return replace(data, train=train, rest=Subset(whole, tuple(left)), extra=len(more))


def _turns(images: ImageSet, seed: int) -> list[int]:
    """Return the places of all images by lot, the classes taking turns."""
    members: list[list[int]] = [[] for _ in images.class_names]
    for place, label in enumerate(images.labels):
        members[label].append(place)
    lots = [
        [own[i] for i in rng.permutation(len(own), seed, "extra", name)]
        for name, own in zip(images.class_names, members, strict=True)
    ]
    return [place for turn in zip_longest(*lots) for place in turn if place is not None]
