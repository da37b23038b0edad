"""Tiny real parts that tests share: photographs of digits in class folders, and a generator trained on them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from actgen.data.sources import load_data
from actgen.finetune.scratch import from_scratch
from actgen.records import Request, Sample

CLASSES = ("zero", "one", "two", "three")
TRAIN_IMAGES, TEST_IMAGES = 30, 10  # of each class

# Files of a folder and what is in them; None stands for a folder.
Tree = dict[str, bytes | None]


def write_digits(root: Path, split: str, first: int, last: int, classes: Sequence[str] = CLASSES) -> None:
    """Write images first..last of every digit as 8-pixel PNGs in class folders."""
    pixels, labels = load_digits(return_X_y=True)
    for label, name in enumerate(classes):
        folder = root / split / name
        folder.mkdir(parents=True)
        for number, flat in enumerate(pixels[labels == label][first:last]):
            Image.fromarray((flat.reshape(8, 8) * 255 / 16).astype(np.uint8)).save(folder / f"{number:03d}.png")


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train/ and test/ of four classes of real digits."""
    root = tmp_path_factory.mktemp("data") / "digits"
    write_digits(root, "train", 0, TRAIN_IMAGES)
    write_digits(root, "test", TRAIN_IMAGES, TRAIN_IMAGES + TEST_IMAGES)
    return root


@pytest.fixture(scope="session")
def tiny_generator(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline folder that `actgen finetune` made of the digits in a few steps: it draws blots, by the real path."""
    out = tmp_path_factory.mktemp("generator") / "digits-generator"
    for _ in from_scratch(load_data(str(digits)).train, out, steps=15, autoencoder_steps=15):
        pass
    return out


def tree(folder: Path) -> Tree:
    """Return everything below `folder`; {} if it does not exist."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))
    }


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a JSON lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def without_times(value: Any) -> Any:
    """Return JSON data without its measured seconds, at any depth."""
    if isinstance(value, dict):
        return {key: without_times(part) for key, part in value.items() if not key.endswith("seconds")}
    return [without_times(part) for part in value] if isinstance(value, list) else value


def make_sample(key: str, shade: int = 0, label: int = 0, class_name: str = "coat") -> Sample:
    """Return a finished drawing of one colour."""
    request = Request(
        key=key,
        label=label,
        class_name=class_name,
        prompt=f"a photo of {class_name}",
        seed=1,
        strategy="text-only",
        round=0,
    )
    image = Image.new("RGB", (8, 8), (shade, shade, shade))
    return Sample(request=request, image=image, latents=torch.zeros(4, 2, 2), mask=None, seconds=0.1)
