"""An arm is a name for changes of a recipe: what is compared with what."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...core.errors import UserError
from ...experiment.config import flat, parse_value
from ...generation.strategies import STRATEGIES
from .numbered import PATTERNS, numbered, spelled

Settings = Mapping[str, object]
"""Dotted keys of a recipe and their values."""

BASE = "none"
"""The arm that the others are compared with: real images only."""

CONTROLS: dict[str, Settings] = {
    "focal": {"strategy": BASE, "training.loss.name": "focal"},
    "balanced-sampling": {"strategy": BASE, "training.sampling.by": "class"},
    "class-balanced": {"strategy": BASE, "training.loss.name": "class-balanced"},
    "distil": {"strategy": BASE, "training.distil.teacher": "clip:bundled"},
    "logit-adjustment": {"strategy": BASE, "training.loss.name": "logit-adjustment"},
    "mixup-cutmix": {"strategy": BASE, "training.mixing.mixup": 0.2, "training.mixing.cutmix": 1.0},
    "randaugment": {"strategy": BASE, "training.augment.randaugment": 2},
}
"""Ways to train on the real images alone, with the settings that make them."""

ARMS: dict[str, Settings] = {**{name: {"strategy": name} for name in STRATEGIES}, **CONTROLS}

_FIXED = ("seed", "label_set", "generation.budget", "evaluation.on")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


def find_arms(names: Sequence[str], own: Mapping[str, Settings]) -> dict[str, Settings]:
    """Return the arms called `names`; those that a user defined (`own`) win over the table, it over ARM+CONTROL."""
    names, known = [spelled(name) for name in names], {**ARMS, **own}
    known |= {name: found for name in names if name not in known and (found := _made(name, known))}
    if unknown := [name for name in names if name not in known]:
        raise UserError(
            f"--arms: {unknown[0]!r} is unknown; allowed: {', '.join([*known, *PATTERNS])}, one on top of a "
            "control such as actgen+randaugment, and what --arm NAME:a.b=c defines."
        )
    if not names:
        raise UserError("--arms names no arm. Give names separated by commas, for example none,text-only,actgen.")
    return {name: known[name] for name in names}


def control_of(arm: str) -> str | None:
    """Return the control that an arm "ARM+CONTROL" is on top of; None if the arm is no such."""
    sampling, _, control = arm.rpartition("+")
    return control if control in CONTROLS and sampling not in {"", BASE, control} else None


def _made(arm: str, known: Mapping[str, Settings]) -> Settings | None:
    """Return the settings of an arm that is in no table: with a number in its name, or on top of a control."""
    return _together(arm, known) or numbered(arm)


def _together(arm: str, known: Mapping[str, Settings]) -> Settings | None:
    """Return the settings of an arm "ARM+CONTROL"; None if there is no such ARM."""
    sampling, control = arm.rpartition("+")[0], control_of(arm)
    above = known.get(sampling) or numbered(sampling)
    if not control or above is None:
        return None
    beneath = {key: value for key, value in CONTROLS[control].items() if key != "strategy"}  # the arm's own
    if twice := sorted(beneath.keys() & above.keys()):
        raise UserError(f"--arms: {arm!r} has {twice[0]} twice, of {sampling} and of {control}. Give another arm.")
    return {**beneath, **above}


def parse_arm(text: str) -> tuple[str, Settings]:
    """Read "NAME:a.b=c,d=e"."""
    name, colon, changes = text.partition(":")
    pairs = [change.partition("=") for change in changes.split(",") if change.strip()]
    if not colon or not pairs or not all(equals for _, equals, _ in pairs):
        raise UserError(
            f"--arm {text!r}: write it as NAME:a.b=c,d=e, for example far:strategy=actgen,sampling.image.strength=0.1."
        )
    return name, _checked(name, {key.strip(): parse_value(value.strip()) for key, _, value in pairs})


def read_arms(recipe: Path) -> dict[str, Settings]:
    """Return the arms in NAME.arms.toml beside the recipe NAME.toml: tables [arms.NAME] of settings; {} without that file."""
    path = recipe.with_suffix(".arms.toml")
    if not path.is_file():
        return {}
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))["arms"]
        return {name: _checked(name, flat(table)) for name, table in tables.items()}
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, AttributeError, TypeError) as error:
        raise UserError(f"{path}: {error}. It holds tables [arms.NAME] with settings of a recipe.") from error


def _checked(name: str, settings: dict[str, object]) -> Settings:
    if not _NAME.fullmatch(name):
        raise UserError(f"the arm {name!r} cannot be a folder: use letters, digits and any of _ . + - in its name.")
    if fixed := [key for key in settings if key in _FIXED]:
        raise UserError(
            f"the arm {name!r} sets {fixed[0]}, which is the same for all arms. Use --seeds, --label-sets, --budgets or "
            "--evaluate."
        )
    return settings
