"""What a line of a manifest may say. Lines may come from others: their keys and file names become paths, their text prompts."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...core.text import brief, is_storable, visible

LONGEST_LINE = 2**20
_NAME = r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}"  # no slash, and no point in front: a file in the folder, and never a hidden one
_FILE = re.compile(rf"(?:[A-Za-z0-9_-]+/)?{_NAME}\.png")
_KEY = re.compile(_NAME)
_HASH = re.compile(r"[0-9a-f]{64}")


def parse_line(line: bytes, required: Sequence[str] = ("key", "file_name")) -> dict[str, object]:
    """Return the object in a line of a manifest, or of another list of images. Raises ValueError with what is wrong with it."""
    if len(line) > LONGEST_LINE:
        raise ValueError(f"longer than {LONGEST_LINE >> 20} MiB")
    try:
        row = json.loads(line, parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("not JSON (nested too deeply)") from error
    except ValueError as error:
        raise ValueError(f"not JSON ({visible(str(error))})") from error
    if not isinstance(row, dict) or any(name not in row for name in required):
        raise ValueError(f"not an object with {' and '.join(required)}")
    for name, is_right in _FIELDS.items():
        if name in row and not is_right(row[name]):
            raise ValueError(f"{name} cannot be {brief(row[name])}")
    return row


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is not a number")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and is_storable(value)


def _is_whole(value: object, least: int = 0) -> bool:
    return type(value) is int and least <= value < 2**63


def _is_real(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def _is_source(value: object) -> bool:
    return value is None or (
        isinstance(value, Mapping)
        and value.keys() == {"split", "index", "key"}
        and _is_text(value["split"])
        and _is_text(value["key"])
        and _is_whole(value["index"])
    )


_FIELDS: dict[str, Callable[[Any], bool]] = {
    "key": lambda value: isinstance(value, str) and _KEY.fullmatch(value) is not None,
    "file_name": lambda value: isinstance(value, str) and _FILE.fullmatch(value) is not None,
    "after": _is_whole,
    "sha256": lambda value: isinstance(value, str) and _HASH.fullmatch(value) is not None,
    "label": _is_whole,
    "class_name": _is_text,
    "prompt": _is_text,
    "seed": _is_whole,
    "strategy": _is_text,
    "round": lambda value: _is_whole(value, -1),  # -1: before the first epoch
    "guides": lambda value: isinstance(value, list) and all(map(_is_text, value)),
    "source": _is_source,
    "strength": _is_real,
    "guidance": lambda value: isinstance(value, dict),
    "loading": lambda value: isinstance(value, dict),
    "generator": _is_text,
    "generator_hash": _is_text,
}
