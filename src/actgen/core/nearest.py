"""Which known names are nearest to one that is not known: by edit distance (Levenshtein 1966)."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Return the known names with the fewest letters to change, the nearest first, of equal ones the shorter first."""
    return sorted(known, key=lambda other: (distance(name.lower(), other.lower()), len(other), other))[:count]


def distance(one: str, other: str) -> int:
    """Return how many letters must be put in, taken out or changed to make one text of the other."""
    row = list(range(len(other) + 1))
    for number, letter in enumerate(one, 1):
        before, row[0] = row[0], number
        for place, wanted in enumerate(other, 1):
            before, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, before + (letter != wanted))
    return row[-1]
