"""How much the stored pictures of a generator vary."""

from __future__ import annotations

import numpy as np

from actgen.data.store.store import Store
from actgen.data.store.stored import read_stored


def middle_spread(store: Store) -> float:
    """Return the levels by which the middle one of the stored pictures varies."""
    snapshot = store.snapshot()
    pictures = [read_stored(snapshot.folder, row).convert("L") for row in snapshot.rows]
    return float(sorted(np.asarray(picture, dtype=np.float64).std() for picture in pictures)[len(pictures) // 2])
