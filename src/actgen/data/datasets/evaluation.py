"""What accuracy is measured on: the test images, or, while settings are still being chosen, validation images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from ...core.errors import UserError
from ...core.options import Choices, Text, options
from ...core.rng import derive, permutation
from .imageset import ImageSet, Subset
from .sources import RealData, load_data
from .splits import hold_out

TEST, VALIDATION = "test", "validation"
KINDS = (TEST, VALIDATION)


@options("evaluation")
class Evaluation:
    """What accuracy is measured on. "validation" leaves the test images alone.

    The validation images are a `fraction` of the training images, which are then not trained on (another part for every seed);
    or, with a `source`, its training images that are not among the run's own. Data that have validation images of their own
    beside test images are measured on these.
    """

    on: Annotated[str, Choices(KINDS), Field(description="test, or validation while settings are being chosen.")] = TEST
    source: Annotated[Text, Field(description="Where validation images come from, as for --data; empty: `fraction`.")] = ""
    fraction: Annotated[float, Field(ge=0.001, le=0.9, description="Part of the training images to validate on.")] = 0.2
    most: Annotated[int, Field(ge=1, le=10**9, description="At most so many images of `source`.")] = 10_000


def choose_images(data: RealData, evaluation: Evaluation, seed: int) -> RealData:
    """Return `data` with the images to measure on as its `test`; its own test images are not looked at for "validation"."""
    if evaluation.on == TEST:
        return data
    if evaluation.source:
        return replace(data, test=others(load_data(evaluation.source).train, data.train, evaluation.most))
    if data.validation is not None:
        return replace(data, test=data.validation)
    train, test = hold_out(data.train, evaluation.fraction, derive(seed, "validation"))
    return replace(data, train=train, test=test)


def others(images: ImageSet, without: ImageSet, most: int) -> Subset:
    """Return at most `most` of the images whose pixels are not among those of `without`, drawn by lot, in their order."""
    if tuple(images.class_names) != tuple(without.class_names):
        raise UserError(
            f"evaluation.source has the classes {', '.join(images.class_names)}, the training data "
            f"{', '.join(without.class_names)}. Give a source with the same classes."
        )
    known = set(_pixels(without))
    new = [index for index, digest in enumerate(_pixels(images)) if digest not in known]
    if not new:
        raise UserError(
            "evaluation.source has no image that is not trained on. Give a larger source, or none, to hold out a "
            "fraction of the training images."
        )
    chosen = sorted(permutation(len(new), 0, "validation")[:most])
    return Subset(images, tuple(new[place] for place in chosen))


def _pixels(images: ImageSet) -> Iterator[bytes]:
    for index in range(len(images.labels)):
        image = images.image(index)
        yield hashlib.sha256(repr(image.size).encode() + image.tobytes()).digest()
