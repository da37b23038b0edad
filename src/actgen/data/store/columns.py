"""What lines of a run's files called their columns in the version before the last renaming: manifest, statistics, summary.

Chains are made over lines as they stand; only who reads a column asks for `current` ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeVar, cast

Line = TypeVar("Line", bound=Mapping[str, object])

COLUMNS: Final = {
    "redrawn": "regenerated",
    "belief": "class_margin",
    "drawn_so_far": "generated_so_far",
    "refused": "failed",
}
_GUIDANCE: Final = {"both_halves": "both_branches"}
_COUNTS: Final = {"drawn": "generated", "refused": "rejected"}
FILES: Final = {"rejected.jsonl": "refused.jsonl", "set_aside/rejected": "set_aside/refused"}
"""New name of a run's file or folder -> old name."""


def current(row: Line) -> Line:
    """Return a line with today's column names; one that has them already is as it was."""
    found = _named(row, COLUMNS)
    if isinstance(guidance := found.get("guidance"), Mapping):
        found["guidance"] = {
            name: _named(part, _GUIDANCE) if isinstance(part, Mapping) else part for name, part in guidance.items()
        }
    if isinstance(counts := found.get("filters"), Mapping):
        found["filters"] = _counts(counts)
    return cast(Line, found)


def existing(folder: Path, name: str) -> Path:
    """Return a file of a run by its name of today, or by its old one if only that is there."""
    old = folder / FILES[name]
    return old if old.exists() and not (folder / name).exists() else folder / name


def _counts(counts: Mapping[str, object]) -> dict[str, object]:
    """Return what filters let through; the keys of "filters" and "classes" are names of filters and of a user's classes."""
    found = _named(counts, _COUNTS)
    for part in ("filters", "classes"):
        if isinstance(by_name := found.get(part), Mapping):
            found[part] = {name: _named(one, _COUNTS) if isinstance(one, Mapping) else one for name, one in by_name.items()}
    return found


def _named(part: Mapping[str, object], names: Mapping[str, str]) -> dict[str, object]:
    return {names.get(key, key): value for key, value in part.items()}
