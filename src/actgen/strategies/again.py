"""A request once more: the same image asked for from another seed, after a filter refused what was drawn."""

from __future__ import annotations

from dataclasses import replace

from ..records import Request
from ..seeding import derive

_MARK = "+"


def again(request: Request, attempt: int) -> Request:
    """Return the request for attempt 1, 2, ... at a replacement; a function of what was first asked for."""
    assert attempt == attempt_of(request.key) + 1
    first = request.key.partition(_MARK)[0]
    return replace(request, key=f"{first}{_MARK}{attempt}", seed=derive(request.seed, "again", attempt))


def attempt_of(key: str) -> int:
    """Return which attempt a key names: 0 for a request as it was planned."""
    return int(key.partition(_MARK)[2] or 0)
