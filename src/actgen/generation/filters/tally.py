"""What was drawn, kept and refused, counted from the lines of manifest and ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def tally(kept: Sequence[Row], refused: Sequence[Row]) -> dict[str, Any]:
    """Return {"drawn", "kept", "refused": {filter: count}, "classes": {class: {"drawn", "kept"}}} of some lines."""
    names = sorted({row["class_name"] for row in (*kept, *refused)})
    passed = Counter(row["class_name"] for row in kept)
    failed = Counter(row["class_name"] for row in refused)
    return {
        "drawn": len(kept) + len(refused),
        "kept": len(kept),
        "refused": dict(sorted(Counter(row["filter"] for row in refused).items())),
        "classes": {name: {"drawn": passed[name] + failed[name], "kept": passed[name]} for name in names},
    }


def keep_rates(tallies: Iterable[Row], order: Sequence[str]) -> dict[str, Any]:
    """Return the sum of tallies with keep rates: of every filter among what reached it in this `order`, and of every class."""
    drawn, refused, classes = 0, Counter[str](), dict[str, Counter[str]]()
    for one in tallies:
        drawn += one["drawn"]
        refused.update(one["refused"])
        for name, counts in one["classes"].items():
            classes.setdefault(name, Counter()).update(counts)
    filters, left = {}, drawn
    for name in order:
        filters[name] = _rate(left, left - refused[name])
        left -= refused[name]
    by_class = {name: _rate(counts["drawn"], counts["kept"]) for name, counts in sorted(classes.items())}
    return {**_rate(drawn, left), "filters": filters, "classes": by_class}


def _rate(drawn: int, kept: int) -> dict[str, Any]:
    return {"drawn": drawn, "kept": kept, "keep_rate": round(kept / drawn, 4) if drawn else None}
