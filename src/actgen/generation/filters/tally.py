"""What was generated, kept and rejected, counted from the lines of manifest and rejection log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from ...core.rows import KeepRate, KeepRates, ManifestLine, RejectionLine, Tally


def tally(kept: Sequence[ManifestLine], rejected: Sequence[RejectionLine]) -> Tally:
    """Return {"generated", "kept", "rejected": {filter: count}, "classes": {class: {"generated", "kept"}}} of some lines."""
    names = sorted({row["class_name"] for row in (*kept, *rejected)})
    passed = Counter(row["class_name"] for row in kept)
    failed = Counter(row["class_name"] for row in rejected)
    return {
        "generated": len(kept) + len(rejected),
        "kept": len(kept),
        "rejected": dict(sorted(Counter(row["filter"] for row in rejected).items())),
        "classes": {name: {"generated": passed[name] + failed[name], "kept": passed[name]} for name in names},
    }


def keep_rates(tallies: Iterable[Tally], order: Sequence[str]) -> KeepRates:
    """Return the sum of tallies with keep rates: of every filter among what reached it in this `order`, and of every class."""
    generated, rejected, classes = 0, Counter[str](), dict[str, Counter[str]]()
    for one in tallies:
        generated += one["generated"]
        rejected.update(one["rejected"])
        for name, counts in one["classes"].items():
            classes.setdefault(name, Counter()).update(generated=counts["generated"], kept=counts["kept"])
    filters, left = dict[str, KeepRate](), generated
    for name in order:
        filters[name] = _rate(left, left - rejected[name])
        left -= rejected[name]
    by_class = {name: _rate(counts["generated"], counts["kept"]) for name, counts in sorted(classes.items())}
    return {**_rate(generated, left), "filters": filters, "classes": by_class}


def _rate(generated: int, kept: int) -> KeepRate:
    return {"generated": generated, "kept": kept, "keep_rate": round(kept / generated, 4) if generated else None}
