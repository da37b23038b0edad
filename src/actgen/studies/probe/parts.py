"""The real training images in three parts: to train a classifier on, to compare generated images with, to be compared like
generated images."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ...core.errors import UserError
from ...core.rng import derive
from ...core.text import visible
from ...data.datasets.imageset import ImageSet
from ...data.datasets.splits import balanced, hold_out

HELD_OUT, CONTROL = 0.4, 1 / 3  # of the training images; of these
FEWEST = 6  # of a class: two are then held out, one for each part
REAL = "real images"
"""What `Parts.control` is called beside the candidates."""
MOST_FITTED, MOST_HELD = 50_000, 10_000


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Parts of the training images, cut class by class.

    `fit`: what the classifier may learn from. `held`: what it may not, and what classifiers trained on generated images are
    measured on. Of these, without an image in common: `reference`, what generated images are compared with, and `control`,
    measured as if generated, at most as many as the generated images: what real images reach.
    """

    fit: ImageSet
    held: ImageSet
    reference: ImageSet
    control: ImageSet


def cut(images: ImageSet, count: int, seed: int) -> Parts:
    """Cut training images in parts for a probe of `count` generated images; the same for every count but for the size of
    `control`.

    `UserError` for a class of fewer than `FEWEST` images.
    """
    counts = Counter(images.labels)
    if few := [name for label, name in enumerate(images.class_names) if counts[label] < FEWEST]:
        raise UserError(
            f"the class {visible(few[0])} has fewer than {FEWEST} training images: probe holds some out to compare "
            "generated images with. Add images, or leave the class out."
        )
    fit, held = hold_out(images, HELD_OUT, derive(seed, "probe"))
    some = at_most(held, MOST_HELD)
    reference, control = hold_out(some, CONTROL, derive(seed, "probe", "control"))
    return Parts(fit=at_most(fit, MOST_FITTED), held=some, reference=reference, control=at_most(control, count))


def at_most(images: ImageSet, most: int) -> ImageSet:
    """Return `images`, or `most` of them, balanced over the classes; never fewer than two of each where there are as many."""
    total, fewest = len(images.labels), 2 * len(images.class_names)
    return images if total <= max(most, fewest) else balanced(images, max(most, fewest))
