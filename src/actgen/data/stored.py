"""The images of a store read back: as pictures, and as what identifies them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from ..errors import UserError
from ..records import Snapshot
from .decoding import decode


def read_stored(folder: str | Path, row: Mapping[str, Any]) -> Image.Image:
    """Return the picture of a manifest line in RGB; `UserError` if it cannot be read."""
    path = Path(folder) / str(row["file_name"])
    try:
        return decode(path)
    except Exception as error:  # Pillow's decoders raise many types on broken files
        raise UserError(f"{path}, an image of the store, cannot be read ({error}). Put the file back as it was.") from error


def digest_of_lines(snapshot: Snapshot) -> str:
    """Return one digest of the images that the manifest's lines promise."""
    return _digest(str(row["sha256"]) for row in snapshot.rows)


def digest_of_files(snapshot: Snapshot, count: int) -> str:
    """Return the same digest of the first `count` images as they are on the disk; reads the files, decodes none."""
    folder = Path(snapshot.folder)
    return _digest(_hash(folder / str(row["file_name"])) for row in snapshot.rows[:count])


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _digest(hashes: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for one in hashes:
        digest.update(one.encode())
    return digest.hexdigest()
