"""Room 2: mistake -> request. A strategy is looked up by name in `STRATEGIES`."""

from __future__ import annotations

from ..errors import UserError
from .actgen import ActGen
from .base import Strategy
from .none import RealOnly
from .text_only import TextOnly

STRATEGIES: dict[str, type[Strategy]] = {part.name: part for part in (RealOnly, TextOnly, ActGen)}


def create_strategy(name: str, *, curriculum: bool = True) -> Strategy:
    """Return the strategy called `name`; `UserError` that lists the names if there is none. `curriculum`: see `actgen.py`."""
    if name not in STRATEGIES:
        raise UserError(f"--strategy {name!r} is unknown; allowed: {', '.join(STRATEGIES)}.")
    return ActGen(curriculum) if name == ActGen.name else STRATEGIES[name]()
