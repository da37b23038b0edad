"""The images of a store read back: as pictures, and as what their lines promise."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from ...core.errors import UserError
from ...core.types import Snapshot
from ..datasets.decoding import decode


def read_stored(folder: str | Path, row: Mapping[str, object]) -> Image.Image:
    """Return the picture of a manifest line in RGB; `UserError` if it cannot be read."""
    path = Path(folder) / str(row["file_name"])
    try:
        return decode(path)
    except Exception as error:  # Pillow's decoders raise many types on broken files
        raise UserError(f"{path}, an image of the store, cannot be read ({error}). Put the file back as it was.") from error


def are_as_named(snapshot: Snapshot, count: int) -> bool:
    """Whether the first `count` files hold what the manifest's lines promise; reads them, decodes none."""
    folder = Path(snapshot.folder)
    return all(_hash(folder / str(row["file_name"])) == row["sha256"] for row in snapshot.rows[:count])


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
