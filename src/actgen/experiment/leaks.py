"""A store held against real data: are the test images among what is trained on?"""

from __future__ import annotations

from pathlib import Path

from ..core.errors import UserError
from ..data.datasets.sources import load_data
from ..data.store.store import MANIFEST, Store
from ..generation.filters.leakage import Leak, find_leaks
from ..generation.filters.thumbnails import Album


def check_leaks(folder: Path, data: str, distance: float) -> tuple[list[Leak], int, int]:
    """Return the images of the store `folder` that are too near to a test image of `data`, and how many of both there are."""
    if not (folder / MANIFEST).is_file():
        inside = folder / "store"
        hint = f"Give {inside}." if (inside / MANIFEST).is_file() else "Give the folder store of a run, or what generate made."
        raise UserError(f"{folder} holds no {MANIFEST}, so it is no store. {hint}")
    test = load_data(data).test
    if test is None:
        raise UserError(f"--data {data} has no test images. Give data with a folder test or val beside train.")
    snapshot = Store(folder).snapshot()
    return list(find_leaks(snapshot, Album.of(test), distance)), len(snapshot), len(test.labels)
