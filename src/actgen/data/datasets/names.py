"""Names of files and classes as text: for keeping (different names stay different) and for showing."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import PurePath

from ...core.text import is_hidden, visible

_LONGEST_NAME = 255  # bytes, of a file or folder; the limit of the usual file systems
_NOT_IN_NAMES = frozenset('/\\:*?"<>|%')  # on some system not allowed in a name, and "%" itself
_ENDS = re.compile(r"^[. ]|[. ]$")
# A folder whose name has such a word is taken for a split of the data set by Hugging Face's imagefolder.
_SPLIT_WORD = re.compile(
    r"(?<![^-._ 0-9])(?:train|training|validation|valid|dev|val|test|testing|eval|evaluation)(?![^-._ 0-9])"
)


def kept(path: PurePath | str) -> str:
    r"""Return a path as text that any file can hold: "/" between parts, bytes that are not UTF-8 as \xNN, "\" as "\\".

    Different paths give different texts.
    """
    text = path.as_posix() if isinstance(path, PurePath) else path
    return os.fsencode(text.replace("\\", "\\\\")).decode("utf-8", "backslashreplace")


def printable(path: PurePath | str) -> str:
    """Return a path as a message shows it: `kept`, in one line and with nothing in it that acts on a terminal."""
    return visible(kept(path))


def folder_name(class_name: str) -> str:
    """Return the name of a class as that of a folder on any system: "a/b" is "a%2Fb", letters and emoji stay.

    Different classes get different folders. Words that name splits ("test tube") are altered too: "%74est tube".
    """
    text = "".join(_percent(letter) if letter in _NOT_IN_NAMES or is_hidden(letter) else letter for letter in class_name)
    text = _ENDS.sub(lambda found: _percent(found[0]), text)
    text = _SPLIT_WORD.sub(lambda found: _percent(found[0][0]) + found[0][1:], text)
    if not text or len(text.encode()) > _LONGEST_NAME:
        digest = hashlib.sha256(class_name.encode()).hexdigest()[:16]
        return text.encode()[: _LONGEST_NAME - 19].decode(errors="ignore") + f"%~{digest}"
    return text


def _percent(letter: str) -> str:
    return "".join(f"%{byte:02X}" for byte in letter.encode("utf-8", "surrogatepass"))
