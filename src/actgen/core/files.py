"""State on disk: written whole or not at all, on the disk before a call returns, read without executing anything."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from .errors import UserError

PART = ".part"  # the end of a file's name while it is being written


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file that appears at `path` when the block ends; after an error, or a kill, what was there is still there."""
    make_folder(path.parent)
    part = path.with_name(path.name + PART)
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with suppress(OSError):  # a full disk gets its room back
            part.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have the names in `folder` on the disk: a file that was renamed keeps its new name over a power cut."""
    _sync(folder, os.O_RDONLY)


def _sync(path: Path, flags: int) -> None:
    number = os.open(path, flags)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, if they are not there."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def save(path: Path, state: dict[str, object]) -> None:
    """Write `state` (tensors, numbers, strings, lists, dicts) atomically."""
    import torch  # here: locks and manifests use this file too, and need not wait for it

    try:
        with whole(path) as file:
            torch.save(state, file)
    except RuntimeError as error:  # torch's writer hides a full disk behind its own complaint
        if isinstance(error.__context__, OSError):
            raise OSError(error.__context__.errno, error.__context__.strerror, str(path)) from error
        raise


def load(path: Path) -> dict[str, Any] | None:
    """Return the state at `path`, None if there is none; `UserError` if it is damaged."""
    if not path.exists():
        return None
    import torch

    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # what torch raises on broken files has no end: IndexError, UnpicklingError, EOFError, ...
        raise damaged(path) from error
    if not isinstance(state, dict):
        raise damaged(path)
    return state


class Damaged(UserError):
    """A checkpoint that cannot be continued."""


def damaged(path: Path) -> Damaged:
    """Return what to raise for a checkpoint that cannot be continued."""
    return Damaged(f"the checkpoint {path} is damaged. Remove it to start this run again.")


def clean(folder: Path) -> None:
    """Remove what a process that was killed had begun to write in `folder` and the checkpoints in it."""
    for path in (*folder.glob(f"*{PART}"), *(folder / "checkpoints").rglob(f"*{PART}")):
        path.unlink()


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically."""
    with whole(path) as file:
        file.write(data)


def write_all(files: Mapping[Path, bytes]) -> None:
    """Write several files, each atomically; waiting for the disk once costs less than once a file."""
    parts = {path: path.with_name(path.name + PART) for path in files}
    folders = {path.parent for path in files}
    for folder in folders:
        make_folder(folder)
    try:
        for path, data in files.items():
            parts[path].write_bytes(data)
        for part in parts.values():
            _sync(part, os.O_RDWR)
        for path, part in parts.items():
            part.replace(path)
    except BaseException:
        for part in parts.values():
            with suppress(OSError):
                part.unlink(missing_ok=True)
        raise
    for folder in folders:
        sync_folder(folder)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    write_bytes(path, text.encode())


def write_lines(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows as JSON lines, atomically."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
