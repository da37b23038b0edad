"""Pictures of four colours, a class each, and generators that are adapted to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from actgen.core.class_words import class_prompt
from actgen.data.datasets.imageset import ArrayImages

SHADES = {"ankle boot": (210, 190, 40), "bag": (40, 180, 60), "coat": (200, 50, 50), "dress": (50, 60, 200)}
"""Class names in the order of their folders, and their mean colours."""
PROMPTS = {name: class_prompt(name) for name in SHADES}


def coloured(per_class: int, size: int = 32) -> ArrayImages:
    """Return pictures of noise around the colour of their class."""
    rng = np.random.default_rng(0)
    wanted = np.repeat(np.array(list(SHADES.values())), per_class, axis=0)[:, None, None, :]
    pixels = np.clip(wanted + rng.normal(0, 12, (len(wanted), size, size, 3)), 0, 255).astype(np.uint8)
    labels = tuple(int(label) for label in np.repeat(np.arange(len(SHADES)), per_class))
    return ArrayImages(pixels, labels, tuple(SHADES), tuple(f"train/{n}" for n in range(len(labels))))


def write_coloured(root: Path, per_class: int) -> Path:
    """Write them as PNGs in class folders and return `root`."""
    images = coloured(per_class)
    for number, label in enumerate(images.labels):
        folder = root / images.class_names[label]
        folder.mkdir(parents=True, exist_ok=True)
        images.image(number).save(folder / f"{number:04d}.png")
    return root
