"""The one error that is meant for people: what was given, what is allowed, what to do."""

from __future__ import annotations

import errno
from collections.abc import Collection
from pathlib import Path

from .text import brief


class UserError(ValueError):
    """Input that actgen cannot use. The command line prints the message and exits with `code`, without a traceback."""

    code = 2


class RunFailure(UserError):
    """Input that was fine and work that failed all the same: weights that became nan, a full disk, a process that died."""

    code = 3


class Dropped(UserWarning):
    """Something of what was given is not used: a line for the user."""


class RenamedKey(FutureWarning):
    """A setting that is given by its old name. The command line prints the message in one line."""


def refuse_unknown(given: str, value: str, allowed: Collection[str]) -> None:
    """Raise `UserError` if `value` is none of the `allowed`; `given` is what stands before it: "a.b =" or "--flag"."""
    if value not in allowed:
        raise UserError(f"{given} {brief(value)} is unknown; allowed: {', '.join(allowed)}.")


def refuse_outside(given: str, value: float | None, low: float, high: float) -> None:
    """Raise `UserError` for a number that is not in [low, high]; None was not given."""
    if value is not None and not low <= value <= high:
        raise UserError(f"{given} {brief(value)}: allowed is {low:g} to {high:g}.")


def refuse_file(out: Path) -> None:
    """Raise `UserError` if the folder `out` cannot be made because it, or a part of its path, is a file."""
    for path in (out, *out.parents):
        if path.exists() and not path.is_dir():
            raise UserError(f"--out {out}: {path} is a file. Give a folder.")


_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE}
"""What the machine lacks, whatever was given."""


def system_code(error: OSError) -> int:
    """Return the exit code for what the system refused: that of a failure if the machine lacks something."""
    return RunFailure.code if error.errno in _MACHINE else UserError.code


def system_refusal(error: OSError) -> str:
    """Return what the system refused, in words."""
    reason = error.strerror or str(error).partition("\n")[0]
    return (
        f"{error.filename or 'a file could not be read or written'}: {reason}. Check the path, its permissions and the "
        "room on the disk; then the same command continues."
    )
