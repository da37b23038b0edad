"""A page of the documentation -> its blocks: what is to run, what is only parsed, what is to look at.

An indented block of lines that begin with a known program is commands, as is ```sh; ```python, ```toml, ```json and ```yaml are
what they say; ```text is to look at. A comment before a block says the rest: `<!-- parsed: WHY -->`, it cannot run here;
`<!-- shown: WHAT -->`, an indented block that is no snippet.
"""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCES = {
    "python": "python",
    "sh": "commands",
    "bash": "commands",
    "toml": "toml",
    "json": "json",
    "yaml": "yaml",
    "text": "text",
}
MARKS = ("parsed", "shown")

_FENCE = re.compile(r"\s*(`{3,}|~{3,})\s*(.*)")
_MARK = re.compile(r"<!-- (\w+): (\S.*) -->")
_VARIABLE = re.compile(r"\w+=")


@dataclass(frozen=True)
class Block:
    """What a page shows: "python", "commands", "toml", ..., "text" to look at, "" that nobody knows, or "prose"."""

    kind: str
    text: str
    line: int
    mark: str = ""

    @property
    def runs(self) -> bool:
        """Whether it is run, not only parsed or looked at."""
        return self.kind not in ("prose", "text", "") and not self.mark


def pages() -> dict[str, Path]:
    """Return every page that a reader may follow, by its path without the suffix."""
    found = [
        *ROOT.glob("*.md"),
        *(path for folder in ("docs", "benchmarks", "src") for path in ROOT.joinpath(folder).rglob("*.md")),
    ]
    return {path.relative_to(ROOT).with_suffix("").as_posix(): path for path in sorted(found)}


def blocks(text: str, programs: Collection[str]) -> Iterator[Block]:
    """Yield the blocks of a page in their order, prose too; `ValueError` for a page that cannot be told apart."""
    mark = ""
    for kind, lines, line in _parts(text.splitlines()):
        inside = textwrap.dedent("\n".join(lines) + "\n")
        if kind == "indented":
            kind = "commands" if _are_commands(inside, programs) else ""
        if kind == "prose":
            yield Block(kind, inside, line)
            if mark and inside.strip():
                raise ValueError(f"line {line}: no block follows the mark {mark}")
            mark = mark or _mark(lines, line)
            continue
        yield Block("text" if mark == "shown" and kind == "" else kind, inside, line, mark)
        mark = ""
    if mark:
        raise ValueError(f"no block follows the mark {mark} at the end")


def _parts(lines: list[str]) -> Iterator[tuple[str, list[str], int]]:
    """Yield kind, lines and place of fenced, indented and other parts."""
    at, blank = 0, True
    prose: list[str] = []
    while at < len(lines):
        line, start = lines[at], at
        if fence := _FENCE.match(line):
            inside = list(takewhile(lambda one: one.strip() != fence[1], lines[at + 1 :]))
            kind, at = FENCES.get(fence[2], ""), at + len(inside) + 2
            if at > len(lines):
                raise ValueError(f"line {start + 1}: a fence without an end")
        elif blank and line.startswith("    "):
            inside = list(takewhile(lambda one: one.startswith("    "), lines[at:]))
            kind, at = "indented", at + len(inside)
        else:
            prose.append(line)
            blank, at = not line.strip(), at + 1
            continue
        yield "prose", prose, start + 1 - len(prose)
        yield kind, inside, start + 1
        prose, blank = [], True
    yield "prose", prose, at + 1 - len(prose)


def _mark(lines: list[str], line: int) -> str:
    """Return the mark that ends a part of prose; `ValueError` for one that is elsewhere, unknown or without a reason."""
    marks = [one for one in lines if one.startswith("<!--")]
    if not marks:
        return ""
    known = _MARK.fullmatch(marks[0])
    if known is None or known[1] not in MARKS or len(marks) > 1 or [one for one in lines if one.strip()][-1] != marks[0]:
        raise ValueError(f"after line {line}: {marks} should be one of {MARKS} with a reason, before a block")
    return known[1]


def _are_commands(text: str, programs: Collection[str]) -> bool:
    try:
        return all(words[0] in programs or words[0].startswith("--") for words in commands(text))
    except ValueError:  # quotes that do not close: a generated image
        return False


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of every command, without the variables before it and without comments."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words and _VARIABLE.match(words[0]):
            words.pop(0)
        if words:
            yield [words[0].removeprefix(".venv/bin/"), *words[1:]]


def mentions(text: str) -> Iterator[str]:
    """Yield what prose has between backticks."""
    for found in re.findall(r"`([^`]+)`", text):
        yield " ".join(found.split())
