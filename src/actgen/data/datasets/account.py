"""What became of every file of a data set: used, or left out with a reason; and what had to be decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .bad_images import BadImages


@dataclass
class Account:
    """`unused`: every file that is no image of the set, with the reason; `notes`: what was decided, in sentences.

    Image files that cannot be used are in `bad`.
    """

    bad: BadImages = field(default_factory=BadImages)
    unused: dict[Path, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def leave(self, paths: Iterable[Path], reason: str) -> None:
        """Note that files are not used; the first reason of a file stays."""
        for path in paths:
            self.unused.setdefault(path, reason)


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Why some files are not used: how many, and the first of them."""

    reason: str
    count: int
    first: str


def by_reason(unused: Mapping[Path, str]) -> tuple[Reason, ...]:
    """Return the reasons for which files are not used, the most frequent one first."""
    counts, first = Counter(unused.values()), dict[str, str]()
    for path, reason in unused.items():
        first.setdefault(reason, str(path))
    return tuple(Reason(reason=reason, count=count, first=first[reason]) for reason, count in counts.most_common())
