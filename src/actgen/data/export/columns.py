"""The columns of an export: what a manifest says of each image, one kind of value a column.

A column keeps its kind if all its values are of one (whole numbers among others count as numbers). Lists, tables and mixtures
become JSON text, so that a reader that looks at the first rows only knows all of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ...core.errors import UserError
from ...core.text import brief, is_storable

TEXT, WHOLE, NUMBER, TRUTH, JSON = "text", "whole", "number", "truth", "json"
FILE = "file_name"  # of the store; an export has its own
_TAKEN = frozenset({"image", "png", "cls", "__key__", "__url__"})  # by what the formats add
_LARGEST = 2**63


@dataclass(frozen=True, kw_only=True)
class Columns:
    """`kinds`: the kind of each column by name, in their order; `gaps`: columns that have no value in some rows."""

    kinds: Mapping[str, str]
    gaps: frozenset[str]

    def cells(self, row: Mapping[str, object]) -> dict[str, object]:
        """Return the values of a row for all columns; None where it has none."""
        return {name: _cell(kind, row.get(name)) for name, kind in self.kinds.items()}

    def without_gaps(self) -> Columns:
        """Return the same columns with JSON text where there are gaps, "null" for none.

        For readers that learn the kinds from the first rows.
        """
        kinds = {name: JSON if name in self.gaps else kind for name, kind in self.kinds.items()}
        return Columns(kinds=kinds, gaps=frozenset())


def find_columns(rows: Iterable[Mapping[str, object]]) -> Columns:
    """Return the columns of `rows`, which are read once and not kept."""
    seen: dict[str, set[str]] = {}
    filled: dict[str, int] = {}
    count = 0
    for count, row in enumerate(rows, start=1):  # noqa: B007
        for name, value in row.items():
            if name == FILE:
                continue
            kinds = seen.setdefault(name, set())
            if value is not None:
                kinds.add(_kind(value))
                filled[name] = filled.get(name, 0) + 1
    if bad := [name for name in seen if name in _TAKEN or not is_storable(name)]:
        raise UserError(f"the manifest has a column {brief(bad[0])}, which an export cannot hold. Rename it in every line.")
    return Columns(
        kinds={name: _common(kinds) for name, kinds in seen.items()},
        gaps=frozenset(name for name in seen if filled.get(name, 0) < count),
    )


def _kind(value: object) -> str:
    match value:
        case bool():
            return TRUTH
        case int():
            return WHOLE if abs(value) < _LARGEST else JSON
        case float():
            return NUMBER
        case str():
            return TEXT if is_storable(value) else JSON
    return JSON


def _common(kinds: set[str]) -> str:
    """Return the kind that can hold all of `kinds`; a column of nothing is text."""
    if kinds == {WHOLE, NUMBER}:
        return NUMBER
    return next(iter(kinds)) if len(kinds) == 1 else JSON if kinds else TEXT


def _cell(kind: str, value: object) -> object:
    if kind == JSON:
        return json.dumps(value)
    return float(value) if kind == NUMBER and isinstance(value, (int, float)) else value
