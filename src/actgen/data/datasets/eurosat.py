"""EuroSAT's RGB images (Helber et al. 2019): ten class folders of 64-pixel JPEGs.

The publication has no test split. Here a fifth of each class is test images, drawn once and for all (`hold_out` with seed 0 on
the files that are there), whatever the seed of a run is.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from ...core.errors import UserError
from .folder import FolderImages, read_folder_split, sub_folders
from .names import printable
from .splits import hold_out

CLASSES = (
    "AnnualCrop",
    "Forest",
    "HerbaceousVegetation",
    "Highway",
    "Industrial",
    "Pasture",
    "PermanentCrop",
    "Residential",
    "River",
    "SeaLake",
)
TEST_FRACTION, TEST_SEED = 0.2, 0
NOTE = f"test images: {TEST_FRACTION:.0%} of each class, generated with seed {TEST_SEED} (EuroSAT has no test split)"
LAYOUT = (
    "Download EuroSAT_RGB.zip from https://zenodo.org/records/7711810 and unpack it; eurosat:DIR is the folder with the class "
    "folders AnnualCrop to SeaLake."
)


def read_eurosat(folder: Path) -> tuple[FolderImages, FolderImages]:
    """Return the training and the test images; keys are `images`/class folder/file.

    Raises UserError for a folder that is not EuroSAT's, and for a class of fewer than 2 images.
    """
    candidates = (path for path in (folder, *sorted(folder.iterdir())) if path.is_dir())
    inside = next((path for path in candidates if CLASSES[0] in sub_folders(path)), None)
    if inside is None:
        raise UserError(f"{printable(folder)} has no class folder {CLASSES[0]}.\n{LAYOUT}")
    if other := sorted(set(sub_folders(inside)) - set(CLASSES)):
        raise UserError(
            f"{printable(inside / other[0])} is not a class of EuroSAT. Remove it, or give the folder without "
            "eurosat: to read it as a folder of class folders."
        )
    images = read_folder_split(inside, "images", folder)
    images = replace(images, class_names=tuple(_words(name) for name in images.class_names))
    train, test = hold_out(images, TEST_FRACTION, TEST_SEED)
    return _part(images, train.indices), _part(images, test.indices)


def _part(images: FolderImages, indices: tuple[int, ...]) -> FolderImages:
    return replace(
        images,
        paths=tuple(images.paths[i] for i in indices),
        labels=tuple(images.labels[i] for i in indices),
        keys=tuple(images.keys[i] for i in indices),
    )


def _words(name: str) -> str:
    """ "AnnualCrop" -> "annual crop"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
