"""Names of files and classes as text: for keeping (different names stay different) and for showing."""

from __future__ import annotations

import os
from pathlib import PurePath

from ..plain import visible


def kept(path: PurePath | str) -> str:
    r"""Return a path as text that any file can hold: "/" between parts, bytes that are not UTF-8 as \xNN, "\" as "\\".

    Different paths give different texts.
    """
    text = path.as_posix() if isinstance(path, PurePath) else path
    return os.fsencode(text.replace("\\", "\\\\")).decode("utf-8", "backslashreplace")


def printable(path: PurePath | str) -> str:
    """Return a path as a message shows it: `kept`, in one line and with nothing in it that acts on a terminal."""
    return visible(kept(path))
