"""What several processes of a run must see alike: refusals, facts, and which folder is whose.

With one process every function does its work as if it were not there.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from ..errors import UserError, system_refusal
from . import ranks

_Value = TypeVar("_Value")


def of_first(work: Callable[[], _Value]) -> _Value:
    """Return what `work` returns on rank 0, which alone does it; what it refuses there, all refuse."""
    if ranks.size() == 1:
        return work()
    result, error = None, None
    if ranks.is_first():
        try:
            result = work()
        except (UserError, OSError) as caught:
            error = caught
    told, value = ranks.broadcast(("" if error is None else described(error), result))
    if told:
        raise ranks.Shared(told) from error
    return value  # type: ignore[return-value]


@contextmanager
def agreed() -> Iterator[None]:
    """What one rank refuses in this block, all refuse, at its end. Nothing of `ranks.py` can be called in it."""
    if ranks.size() == 1:
        yield
        return
    error: UserError | OSError | None = None
    try:
        yield
    except (UserError, OSError) as caught:
        error = caught
    told = ranks.exchange("" if error is None else described(error))
    number = next((number for number, text in enumerate(told) if text), None)
    if number is not None:
        raise ranks.Shared(f"process {number}: {told[number]}" if number else told[0]) from error


def refuse_different(facts: dict[str, str]) -> None:
    """Raise `UserError` unless the facts are the same on all ranks."""
    if ranks.size() == 1:
        return
    first = ranks.broadcast(facts)
    for number, other in enumerate(ranks.exchange(facts)):
        if differs := [name for name, value in first.items() if other.get(name) != value]:
            raise ranks.Shared(
                f"process {number} has another {' and another '.join(differs)} than process 0. Every machine "
                "needs the same files and the same version of actgen."
            )


@contextmanager
def home(out: Path) -> Iterator[Path]:
    """Give rank 0 the run's folder, and every other rank an empty one of its own, which is gone afterwards."""
    if ranks.is_first():
        yield out
        return
    with tempfile.TemporaryDirectory(prefix="actgen-") as folder:
        yield Path(folder) / "run"


def sees_folder(folder: Path) -> bool:
    """Whether this rank sees rank 0's `folder`, as it does on the same machine and on a shared disk."""
    if ranks.size() == 1:
        return True
    token = Path(of_first(lambda: _leave_token(folder)))
    seen = token.exists()
    ranks.exchange(seen)  # before it is removed
    if ranks.is_first():
        token.unlink()
    return seen


def _leave_token(folder: Path) -> str:
    number, name = tempfile.mkstemp(prefix="seen-", suffix=".part", dir=folder.resolve())
    os.close(number)
    return name


def described(error: UserError | OSError) -> str:
    """Return an error in words."""
    return str(error) if isinstance(error, UserError) else system_refusal(error)
