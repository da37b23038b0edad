"""Two arms -> one table of differences, label set by label set and test image by test image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from .clusters import Numbers
from .rows import Row, right_of

Cell = tuple[str, str, float]
"""Recipe, arm, budget (0 for an arm that generates nothing)."""


def paired_table(rows: Sequence[Row], own: Cell, other: Cell) -> Numbers | None:
    """Return how much more often `own` is right than `other`, in [-1, 1], [S, N]; None if they share no label set.

    S label sets that both have, in their order, N test images. A label set with several seeds is the mean of them.
    """
    ours, theirs = _right(rows, own), _right(rows, other)
    shared = sorted(ours.keys() & theirs.keys())
    if not shared or len({len(ours[one]) for one in shared} | {len(theirs[one]) for one in shared}) > 1:
        return None
    return np.stack([ours[one] - theirs[one] for one in shared])


def _right(rows: Sequence[Row], cell: Cell) -> dict[int, Numbers]:
    """Return how often each image is right, [N], on every label set of a cell; without rows that do not say so."""
    found: dict[int, list[Numbers]] = defaultdict(list)
    for row in rows:
        own, label_set = (row["recipe"], row["arm"], row["budget"]) == cell, row.get("label_set")
        if own and label_set is not None and (right := right_of(row)) is not None:
            found[label_set].append(right.astype(np.float64))
    return {one: np.mean(many, axis=0) for one, many in found.items()}
