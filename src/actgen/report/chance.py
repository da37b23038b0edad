"""Is an accuracy what guessing gives?"""

from __future__ import annotations

import math

DEVIATIONS = 2.0
FEW = 1000
"""Images assumed where their number is not known."""


def at_chance(accuracy: float, classes: int, images: int | None) -> bool:
    """Whether `accuracy` (percent) is not above that of guessing one of `classes` by more than `DEVIATIONS` deviations."""
    if classes < 2:
        return False
    share = 1 / classes
    return accuracy / 100 <= share + DEVIATIONS * math.sqrt(share * (1 - share) / (images or FEW))


def chance_words(accuracy: float, classes: int) -> str:
    """Return what to say of a classifier that guesses."""
    return (
        f"At chance: {accuracy:.1f}% is what guessing one of {classes} classes gives ({100 / classes:.1f}%). The classifier "
        "has learned nothing: look at labels, learning rate and number of epochs before comparing anything."
    )
