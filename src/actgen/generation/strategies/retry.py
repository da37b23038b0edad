"""A request once more: the same image asked for from another seed, after a filter rejected what was generated."""

from __future__ import annotations

import re
from dataclasses import replace

from ...core.rng import derive
from ...core.types import Request

_AGAIN = re.compile(r"\+(\d+)$")


def again(request: Request, attempt: int) -> Request:
    """Return the request for attempt 1, 2, ... at a replacement; a function of what was first asked for."""
    assert attempt == attempt_of(request.key) + 1
    first = _AGAIN.sub("", request.key)
    return replace(request, key=f"{first}+{attempt}", seed=derive(request.seed, "again", attempt))


def attempt_of(key: str) -> int:
    """Return which attempt a key names: 0 for a request as it was planned."""
    found = _AGAIN.search(key)
    return int(found[1]) if found else 0
