"""Cutting one set of images in two, class by class, the same way every time."""

from __future__ import annotations

from itertools import zip_longest

from actgen.core import rng

from ...core.errors import UserError
from ...core.text import visible
from .imageset import ImageSet, Subset


def hold_out(images: ImageSet, fraction: float, seed: int) -> tuple[Subset, Subset]:
    """Return (training, held out): `fraction` of each class is held out, at least one image, never all of them.

    A pure function of the labels, `fraction` and `seed`; both parts keep the order of `images`. Raises UserError for a
    fraction outside (0, 1) and for a class of fewer than 2 images.
    """
    if not 0 < fraction < 1:
        raise UserError(f"the hold-out fraction is {fraction}; it must lie between 0 and 1, for example 0.1.")
    taken: set[int] = set()
    for name, indices in zip(images.class_names, _by_class(images), strict=True):
        if len(indices) < 2:
            raise UserError(
                f"the class {visible(name)} has {len(indices)} images; to hold some out, each class needs 2 or more."
            )
        count = min(max(1, round(fraction * len(indices))), len(indices) - 1)
        taken.update(indices[i] for i in rng.permutation(len(indices), seed, "hold-out", name)[:count])
    kept = tuple(i for i in range(len(images.labels)) if i not in taken)
    return Subset(images, kept), Subset(images, tuple(sorted(taken)))


def balanced(images: ImageSet, count: int, label_set: int | None = None) -> Subset:
    """Return `count` of the images, as many of each class as can be, in their order.

    It is a lot of its own for every `label_set`; without one it is drawn once and for all. No other seed changes it, and a
    smaller count is a part of a larger one where classes have enough. Raises UserError for a count above that of the images or
    below two a class.
    """
    total, classes = len(images.labels), len(images.class_names)
    if not 2 * classes <= count <= total:
        raise UserError(
            f"images = {count}: these data have {total} training images in {classes} classes, so allowed is "
            f"{2 * classes} to {total}, or 0 for all."
        )
    lot = (0, "balanced") if label_set is None else (label_set, "label set")
    order = [
        [indices[i] for i in rng.permutation(len(indices), *lot, name)]
        for name, indices in zip(images.class_names, _by_class(images), strict=True)
    ]
    turns = [index for turn in zip_longest(*order) for index in turn if index is not None]
    return Subset(images, tuple(sorted(turns[:count])))


def labelled(images: ImageSet, per_class: int, label_set: int) -> Subset:
    """Return the labelled images of a label set, `per_class` of each class, in their order.

    A pure function of the labels and the two numbers. With more of each class, the same label set keeps all that it had.
    Raises UserError for a class that has fewer.
    """
    for name, indices in zip(images.class_names, _by_class(images), strict=True):
        if len(indices) < per_class:
            raise UserError(
                f"labels_per_class = {per_class}: the class {visible(name)} has {len(indices)} training images. "
                "Give so many or fewer."
            )
    return balanced(images, per_class * len(images.class_names), label_set)


def _by_class(images: ImageSet) -> list[list[int]]:
    members: list[list[int]] = [[] for _ in images.class_names]
    for index, label in enumerate(images.labels):
        members[label].append(index)
    return members
