"""Recipe keys of the version before the last renaming -> today's; for one release, with a warning that names the new one."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping
from itertools import groupby

from ..core.errors import RenamedKey, UserError
from ..core.text import brief
from ..diffusion.guides.image import OWN

KEYS = {
    "mining.scout_epochs": "mining.proxy_epochs",
    "choosing.candidates": "selection.samples_per_request",
    "choosing.doubt": "selection.max_confidence",
    "choosing.plausible": "selection.min_confidence",
    "choosing.belief": "selection.class_margin",
    "choosing": "selection",
    "drawing.image.both_halves": "sampling.image.both_branches",
    "drawing.text.both_halves": "sampling.text.both_branches",
    "drawing": "sampling",
    "filters.redraw": "filters.retries",
    "filters.keep_refused": "filters.keep_rejected",
}
"""Old name -> new name; of a section, all keys in it that are not named themselves."""


def renamed(tree: Mapping[str, object], *, warn: bool = True) -> dict[str, object]:
    """Return a tree of settings with today's names; `UserError` where an old and a new name say the same.

    With `warn`, an old name is a `RenamedKey` warning, one for a section; a file of an earlier version is read without.
    """
    found: dict[str, object] = {}
    for key, value in (leaves := dict(_leaves(tree))).items():
        _put(found, current_name(key), value, key)
    for line in _warnings(leaves) if warn else ():
        warnings.warn(line, RenamedKey, stacklevel=2)
    if _is_written_out(tree):
        image = found["sampling"]["image"]  # type: ignore[index]
        image.setdefault("noise", OWN)
    return found


def current_name(key: str) -> str:
    """Return what a dotted key is called today."""
    old = _entry(key)
    return key if old is None else KEYS[old] + key.removeprefix(old)


def _entry(key: str) -> str | None:
    """Return the entry of `KEYS` that a key is, or is in; None if it has kept its name."""
    return next((old for old in KEYS if key == old or key.startswith(f"{old}.")), None)


def _warnings(keys: Collection[str]) -> Iterator[str]:
    for old, group in groupby(sorted(keys, key=lambda key: _entry(key) or ""), _entry):
        given = list(group)
        if old is not None:
            name = given[0] if len(given) == 1 else old
            yield f"{name} is called {current_name(name)} now; the next release knows the new name alone."


def _is_written_out(tree: Mapping[str, object]) -> bool:
    """Whether a run of that version wrote this recipe, whole: its guides had a noise of their own. A user gives a few keys."""
    drawing = tree.get("drawing")
    image = drawing.get("image") if isinstance(drawing, Mapping) else None
    return isinstance(image, Mapping) and {"strength", "both_halves", "mask_stop"} <= image.keys()


def _leaves(tree: Mapping[str, object], before: str = "") -> Iterator[tuple[str, object]]:
    """Yield dotted keys and values; what has no section that was renamed stays as it is, tables of a user's own names too."""
    for key, value in tree.items():
        name = f"{before}{key}"
        if isinstance(value, Mapping) and value and (_entry(name) or any(old.startswith(f"{name}.") for old in KEYS)):
            yield from _leaves(value, f"{name}.")
        else:
            yield name, value


def _put(tree: dict[str, object], key: str, value: object, given: str) -> None:
    *sections, last = key.split(".")
    for section in sections:
        below = tree.setdefault(section, {})
        if not isinstance(below, dict):
            raise _twice(given, key, value)
        tree = below
    if last in tree:
        raise _twice(given, key, value)
    tree[last] = value


def _twice(given: str, key: str, value: object) -> UserError:
    return UserError(f"{given} = {brief(value)}: {key} is given too, which is the same by its old or new name. Leave one out.")
