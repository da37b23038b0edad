"""A data set reader from outside: one NumPy archive a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from actgen.core.errors import UserError
from actgen.data.datasets.imageset import ArrayImages, ImageSet
from actgen.data.datasets.sources import Reader


def read_archive(folder: Path) -> tuple[ImageSet, ImageSet | None]:
    """Read `images.npz` with pixels, labels and names; there are no test images."""
    if not (path := folder / "images.npz").is_file():
        raise UserError(f"{folder} has no images.npz.")
    with np.load(path) as held:
        labels = tuple(int(label) for label in held["labels"])
        names = tuple(str(name) for name in held["names"])
        return ArrayImages(held["pixels"], labels, names, tuple(f"npz/{n}" for n in range(len(labels)))), None


ARCHIVE = Reader(read_archive, "npz:DIR holds images.npz with pixels, labels and names.")
