"""Arms whose name ends in a number: more labelled real images, a longer training."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ...core.errors import UserError
from ...experiment.config import Recipe

MORE_REAL, NONE_LONG = "more-real", "none-long"
PATTERNS = (f"{MORE_REAL}-N", f"{NONE_LONG}-F")
EPOCHS = "training.epochs"


@dataclass(frozen=True)
class Times:
    """A number of epochs as a multiple of the recipe's."""

    factor: float


def spelled(arm: str) -> str:
    """Return the name of an arm, which is a folder's: "more-real:150" may be written for "more-real-150"."""
    name, colon, number = arm.partition(":")
    return f"{name}-{number}" if colon and name in NUMBERED else arm


def numbered(arm: str) -> dict[str, object] | None:
    """Return the settings of "more-real-N" or "none-long-F"; None for another arm. `UserError` for a number that cannot be."""
    name, _, number = arm.rpartition("-")
    return NUMBERED[name](arm, number) if name in NUMBERED else None


def settled(settings: Mapping[str, object], recipe: Recipe) -> dict[str, object]:
    """Return the settings with the multiples of what `recipe` says worked out."""
    return {
        key: max(1, round(recipe.training.epochs * value.factor)) if isinstance(value, Times) else value
        for key, value in settings.items()
    }


def is_longer(arm: str) -> bool:
    """Whether an arm says in its name that it takes more optimiser steps than the others."""
    return arm.startswith(f"{NONE_LONG}-")


def _more_real(arm: str, number: str) -> dict[str, object]:
    if not re.fullmatch(r"[1-9]\d{0,8}", number):
        raise UserError(f"--arms: {arm!r}: give the number of further labelled real images from 1, as in {MORE_REAL}-150.")
    return {"strategy": "none", "extra.real": int(number)}


def _none_long(arm: str, number: str) -> dict[str, object]:
    if not re.fullmatch(r"\d{1,3}(\.\d{1,3})?", number) or not 1 < float(number) <= 100:
        raise UserError(
            f"--arms: {arm!r}: give how many times the recipe's epochs, above 1 and up to 100, as in {NONE_LONG}-1.5."
        )
    return {"strategy": "none", EPOCHS: Times(float(number))}


NUMBERED: dict[str, Callable[[str, str], dict[str, object]]] = {MORE_REAL: _more_real, NONE_LONG: _none_long}
