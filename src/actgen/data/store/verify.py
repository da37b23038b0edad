"""What is wrong with a store: every line against the lines before it and against its image, every file against the lines.

Damage is what no stop of a run can cause: an image that is missing or altered, a line that is none, or that was removed,
altered, moved or put in. Leftovers are what a stop does cause: a torn last line, and files that got no line any more.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...core.errors import UserError
from ...core.lock import LOCK
from .chain import CHAIN, START, link
from .columns import current
from .manifest import Row, parse
from .store import MANIFEST, refuse_no_store, set_aside

REPAIRS = "repairs.jsonl"
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Finding:
    """Something that is wrong: `what`, with the number of its line (from 1) and its key; 0 for a file, whose name is the key.

    `cure`: what a repair does with it: take the "line" out (with its image if `image`), chain the rest anew ("chain"),
    move a "file", or nothing ("").
    """

    what: str
    cure: str
    line: int = 0
    key: str = ""
    image: bool = False

    def __str__(self) -> str:
        key = f" ({self.key})" if self.key else ""
        return f"line {self.line}{key}: {self.what}" if self.line else self.what


@dataclass
class StoreVerdict:
    """What was found: `images` that are sound, `lines` in all, of which `unchained` carry no chain; `chain` is the last."""

    images: int = 0
    lines: int = 0
    unchained: int = 0
    chain: str = START
    damage: list[Finding] = field(default_factory=list)
    leftovers: list[Finding] = field(default_factory=list)


def verify(folder: Path, told: Callable[[int], None] | None = None) -> StoreVerdict:
    """Check the store `folder`; nothing is changed. `told` hears how many lines are done; `UserError` if it is no store.

    A run may go on meanwhile: what it is about to write may show as left over.
    """
    refuse_no_store(folder)
    known, files = _known(folder), set(_files(folder))  # before the lines are read: a run that goes on adds to all of them
    verdict, chain, seen = StoreVerdict(), Following(), set[str]()
    for number, line in enumerate(_lines(folder / MANIFEST), start=1):
        if not line.endswith(b"\n"):
            verdict.leftovers.append(Finding("a torn last line, of a stop while it was written", "line", number))
            break
        verdict.lines = number
        row, reason = _parsed(line, folder, number)
        if row is None:
            verdict.damage.append(Finding(reason, "line", number))
            chain.lost()
        else:
            if what := chain.flaw(row):
                verdict.damage.append(Finding(what, "chain", number, row["key"]))
            verdict.damage += _image_findings(row, number, folder, files, seen)
        if told is not None:
            told(number)
    verdict.images, verdict.unchained, verdict.chain = len(seen) // 2, chain.without, chain.last
    verdict.leftovers += [
        Finding(f"{name} has no line", "file", key=name) for name in sorted(files) if _is_there(folder / name)
    ]
    _check_end(verdict, *known)
    return verdict


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=1 << 20) as file:
        yield from file


def _files(folder: Path) -> Iterator[str]:
    """Yield all files of a store but its manifest and lock, relative to it."""
    for path in folder.rglob("*"):
        if (not path.is_dir() or path.is_symlink()) and path not in (folder / MANIFEST, folder / LOCK):
            yield path.relative_to(folder).as_posix()


def _parsed(line: bytes, folder: Path, number: int) -> tuple[Row | None, str]:
    """Return the row of a line, or what is wrong with it."""
    try:
        row = parse(line, folder / MANIFEST, number - 1)
    except UserError as error:
        return None, str(error).partition(f"line {number}: ")[2].partition(" `actgen")[0]
    if not isinstance(digest := row.get("sha256"), str) or not _SHA256.fullmatch(digest):
        return None, f"its sha256 is {digest!r}"
    if not isinstance(label := row.get("label"), int) or isinstance(label, bool) or label < 0:
        return None, f"its label is {label!r}"
    try:
        link(START, row)
    except ValueError:
        return None, "it holds a number that JSON has not"
    return row, ""


class Following:
    """The chain as far as the lines have been read. Lines of versions that wrote none may come first."""

    def __init__(self) -> None:
        self.last, self.without = START, 0
        self._begun, self._known = False, True

    def lost(self) -> None:
        """A line could not be read: what the next one continues is unknown."""
        self._known = False

    def flaw(self, row: Row) -> str:
        """Return what is wrong with a line's chain, "" if nothing is; go on from it."""
        own = row.get(CHAIN)
        if own is None and not self._begun:
            self.without += 1
            return ""
        right = not self._known or own == link(self.last, row)
        self._begun, self._known, self.last = True, True, own if isinstance(own, str) else START
        return "" if right else "the chain breaks: this line was altered or moved, or lines before it were removed or put in"


def _image_findings(row: Row, number: int, folder: Path, files: set[str], seen: set[str]) -> list[Finding]:
    """Check the image of a line; take it off the `files` without a line, and its names into those `seen`, if it is sound."""
    name, key = row["file_name"], f"key {row['key']}"
    if name in seen or key in seen:
        return [Finding("an image or a file is named for the second time", "line", number, row["key"])]
    files.discard(name)
    if what := _image_flaw(folder, row):
        return [Finding(what, "line", number, row["key"], image=True)]
    seen.update((name, key))
    return []


def _image_flaw(folder: Path, row: Row) -> str:
    """Return what is wrong with the image of a line, "" if nothing is."""
    path, name = folder / row["file_name"], row["file_name"]
    if not path.is_file():
        return f"{name} is missing"
    if not path.resolve().is_relative_to(folder.resolve()):
        return f"{name} is a link that leads out of the store"
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest == row["sha256"]:
        return ""
    return f"{name} is empty" if path.stat().st_size == 0 else f"{name} was altered or cut: its sha256 is another"


def _is_there(path: Path) -> bool:
    return path.is_symlink() or path.exists()


def _check_end(verdict: StoreVerdict, lines: int, chain: str) -> None:
    """Compare the number of lines and the last chain with what is known of the store from outside of it."""
    if verdict.lines < lines:
        verdict.damage.append(Finding(f"lines are missing at the end: {lines} were written, {verdict.lines} are there", ""))
    elif chain and verdict.lines == lines and verdict.chain != chain and not verdict.damage:
        verdict.damage.append(Finding("the last chain is not the one that the run noted: the lines were written anew", ""))


def _known(folder: Path) -> tuple[int, str]:
    """Return how many lines there should be at least and the chain of the last, by the latest repair or by the run."""
    if notes := _objects(set_aside(folder) / REPAIRS):
        return _known_by(notes[-1], "lines")
    if folder.name != "store":  # not that of a run
        return 0, ""
    if summary := _objects(folder.parent / "summary.json", whole=True):
        return _known_by(summary[0], "synthetic_images")
    stats = _objects(folder.parent / "stats.jsonl")
    return _known_by(current(stats[-1]), "generated_so_far") if stats else (0, "")


def _known_by(facts: Mapping[str, object], name: str) -> tuple[int, str]:
    count, chain = facts.get(name), facts.get("manifest_chain")
    return count if isinstance(count, int) else 0, chain if isinstance(chain, str) else ""


def _objects(path: Path, *, whole: bool = False) -> list[dict[str, object]]:
    """Return the JSON objects in a file's lines, or the one that is the whole of it; none if it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
        found = [json.loads(part) for part in ([text] if whole else text.splitlines())]
    except (OSError, ValueError):
        return []
    return [one for one in found if isinstance(one, dict)]
