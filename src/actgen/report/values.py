"""Files and JSON values that may be missing or broken -> typed values, or nothing where a report can do without."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

LARGEST = 1e15
Record = Mapping[str, object]
"""A JSON object."""


def read_text(path: Path) -> str:
    """Return the text of `path`, empty if there is no such file; bytes that are not UTF-8 are replaced."""
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def read_object(path: Path) -> Record:
    """Return the JSON object in `path`, empty if there is none."""
    return parse(read_text(path))


def read_objects(path: Path) -> list[Record]:
    """Return one object per line that is not blank; only a newline ends a line (a JSON string may hold U+2028)."""
    return [parse(line) for line in read_text(path).split("\n") if line.strip()]


def parse(text: str) -> Record:
    """Return the object in `text`, or an empty one: a run that was stopped may leave half a line."""
    try:
        return as_object(json.loads(text))
    except (ValueError, RecursionError):
        return {}


def as_object(value: object) -> Record:
    """Return `value` if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_text(value: object) -> str:
    """Return `value` as text that UTF-8 can carry (JSON may hold lone surrogates); null is empty."""
    return "" if value is None else str(value).encode("utf-8", "replace").decode("utf-8")


def as_number(value: object) -> float | None:
    """Return `value` if it is a number that a figure can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= LARGEST else None  # not for NaN either


def as_count(value: object) -> int | None:
    """Return `value` as a whole number if it is a finite one."""
    number = as_number(value)
    return None if number is None else int(number)


def as_percents(value: object) -> Mapping[str, float]:
    """Return the entries of an object {class: percent} that are numbers."""
    pairs = ((as_text(name), as_number(percent)) for name, percent in as_object(value).items())
    return {name: percent for name, percent in pairs if percent is not None}
