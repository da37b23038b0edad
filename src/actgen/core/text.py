"""Text from outside -> text that can do nothing but be read: it moves no cursor, turns no line around and breaks none."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from rich.markup import escape

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # control, format (direction marks), half a pair, line and paragraph ends
_JOINERS = "\u200c\u200d"  # format too, but words and emoji are spelled with them
_SURROGATES = re.compile("[\ud800-\udfff]")
LONGEST = 120
LARGEST_TEXT = 2**20


def visible(text: str) -> str:
    r"""Return `text` in one line, what cannot be seen written as \uNNNN: an escape that TOML and JSON read back."""
    return text if text.isprintable() else "".join(_escaped(letter) if is_hidden(letter) else letter for letter in text)


def for_terminal(text: object) -> str:
    """Return text from outside as Rich may print it before other text: `visible`, and no markup."""
    return escape(f"{visible(str(text))} ")[:-1]  # a backslash at its end would be doubled


def is_hidden(letter: str) -> bool:
    """Whether a character has no shape of its own, but acts on those around it."""
    return unicodedata.category(letter) in _HIDDEN and letter not in _JOINERS


def is_storable(text: str) -> bool:
    """Whether a file can hold `text`: no half of a surrogate pair (bytes of a name that are not UTF-8), no NUL."""
    return "\0" not in text and (text.isascii() or not _SURROGATES.search(text))


def shown(name: str) -> str:
    """Return a name as it is if it is short and all of it can be seen, else as `brief` does."""
    return name if name.isprintable() and len(name) <= LONGEST else brief(name)


def brief(value: object) -> str:
    """Return a value as a message shows it: `repr`, cut in the middle if it is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, or a value of thousands of levels
        return f"a {type(value).__name__} too large to show"
    return visible(shortened(text, LONGEST))


def shortened(text: str, most: int) -> str:
    """Return a text of at most about `most` characters: the middle of a longer one is left out."""
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 4 :]}"


def read_text(path: Path) -> str:
    """Return the text of a small UTF-8 file, without the mark that some editors put first.

    Raises ValueError, to be read after the file's name: "is not UTF-8 text" or "is larger than 1 MiB".
    """
    with path.open("rb") as file:
        data = file.read(LARGEST_TEXT + 1)
    if len(data) > LARGEST_TEXT:
        raise ValueError(f"is larger than {LARGEST_TEXT >> 20} MiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 text ({error.reason} at byte {error.start})") from error


def first_line(error: Exception) -> str:
    """Return the first line of what an exception of others says, short and visible; its type if it says nothing."""
    lines = str(error).strip().splitlines()
    return visible(shortened(lines[0], 200)) if lines else type(error).__name__


def _escaped(letter: str) -> str:
    code = ord(letter)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
