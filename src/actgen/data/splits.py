"""Cutting one set of images in two, class by class, the same way every time."""

from __future__ import annotations

from actgen import seeding

from ..errors import UserError
from ..plain import visible
from .imageset import ImageSet, Subset


def hold_out(images: ImageSet, fraction: float, seed: int) -> tuple[Subset, Subset]:
    """Return (training, held out): `fraction` of each class is held out, at least one image, never all of them.

    A pure function of the labels, `fraction` and `seed`; both parts keep the order of `images`. Raises UserError for a
    fraction outside (0, 1) and for a class of fewer than 2 images.
    """
    if not 0 < fraction < 1:
        raise UserError(f"the hold-out fraction is {fraction}; it must lie between 0 and 1, for example 0.1.")
    members: list[list[int]] = [[] for _ in images.class_names]
    for index, label in enumerate(images.labels):
        members[label].append(index)
    taken: set[int] = set()
    for name, indices in zip(images.class_names, members, strict=True):
        if len(indices) < 2:
            raise UserError(f"the class {visible(name)} has {len(indices)} images; to hold some out, "
                            "each class needs 2 or more.")  # fmt: skip
        count = min(max(1, round(fraction * len(indices))), len(indices) - 1)
        taken.update(indices[i] for i in seeding.permutation(len(indices), seed, "hold-out", name)[:count])
    kept = tuple(i for i in range(len(images.labels)) if i not in taken)
    return Subset(images, kept), Subset(images, tuple(sorted(taken)))
