"""Mend a store: what is damaged or left over moves beside it, nothing is deleted; the lines that stay are chained anew."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ...core.files import make_folder, sync_folder, whole, write_text
from ...core.lock import locked
from .chain import CHAIN, START, link
from .manifest import encode, parse
from .store import MANIFEST, refuse_no_store, set_aside
from .verify import REPAIRS, Finding, StoreVerdict, verify


@dataclass(frozen=True)
class Repair:
    """What was found before, and what was moved to `folder`: files, and lines of the manifest."""

    before: StoreVerdict
    folder: Path
    files: int
    lines: int


def repair(folder: Path) -> Repair:
    """Mend the store `folder`; `UserError` if a run is using it. The manifest as it was is kept, whole, beside the store."""
    refuse_no_store(folder)
    with ExitStack() as stack:
        if (folder.parent / "recipe.toml").exists():
            stack.enter_context(locked(folder.parent))
        stack.enter_context(locked(folder))
        return _mend(folder, verify(folder))


def _mend(folder: Path, before: StoreVerdict) -> Repair:
    found = [*before.damage, *before.leftovers]
    if not found:
        return Repair(before, set_aside(folder), 0, 0)
    out = {one.line for one in found if one.cure == "line"}
    names = [one.key for one in found if one.cure == "file"] + list(_images(folder, found))
    if out or any(one.cure == "chain" for one in found):
        _copy_manifest(folder)
        _write_manifest(folder, out)
    moved = sum(_move(folder, name) for name in names)  # last: a file whose line is gone is a leftover, not damage
    after = verify(folder)
    _note(folder, after)
    return Repair(before, set_aside(folder), moved, len(out))


def _images(folder: Path, found: list[Finding]) -> Iterator[str]:
    """Yield the files of the lines whose image is not sound."""
    numbers = {one.line for one in found if one.image}
    with (folder / MANIFEST).open("rb") as file:
        for number, line in enumerate(file, start=1):
            if number in numbers:
                yield parse(line, folder / MANIFEST, number - 1)["file_name"]


def _copy_manifest(folder: Path) -> None:
    path = folder / MANIFEST
    with path.open("rb") as file, whole(set_aside(folder) / f"metadata-{_digest(path)}.jsonl") as copy:
        shutil.copyfileobj(file, copy, 1 << 20)


def _write_manifest(folder: Path, out: set[int]) -> None:
    """Write the manifest without the lines `out`; a line stays byte for byte as long as its chain does."""
    chain, begun = START, False
    with (folder / MANIFEST).open("rb") as lines, whole(folder / MANIFEST) as file:
        for number, line in enumerate(lines, start=1):
            if number in out:
                continue
            row = parse(line, folder / MANIFEST, number - 1)
            begun = begun or CHAIN in row
            if begun:
                chain = link(chain, row)
                line = line if row.get(CHAIN) == chain else encode({**row, CHAIN: chain})
            file.write(line)


def _move(folder: Path, name: str) -> bool:
    """Move a file of the store beside it, under a name of its own; return whether there was one."""
    path = folder / name
    if path.is_symlink() or path.is_file():
        mark = "link" if path.is_symlink() else _digest(path)
        make_folder(set_aside(folder))
        path.replace(set_aside(folder) / f"{path.stem}-{mark}{path.suffix}")
        sync_folder(set_aside(folder))
        return True
    return False


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _note(folder: Path, after: StoreVerdict) -> None:
    """Write down how the store stands now: lines that are missing at its end are known from then on."""
    path = set_aside(folder) / REPAIRS
    now = datetime.now().astimezone().isoformat(" ", "seconds")
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    write_text(path, text + json.dumps({"when": now, "lines": after.lines, "manifest_chain": after.chain}) + "\n")
