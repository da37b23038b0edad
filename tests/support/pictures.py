"""Real pictures for the filters: Fashion-MNIST as it comes with the package, and stores made of it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from PIL import Image

from actgen.core.types import Request, Sample
from actgen.data.datasets.sources import RealData, load_data
from actgen.data.store.store import Store

FACTS = {"guidance": {}, "seconds": 0.1}


@cache
def fashion() -> RealData:
    return load_data("fashion-mnist-mini")


def picture(split: str, index: int) -> Image.Image:
    data = fashion()
    images = data.train if split == "train" else data.test
    assert images is not None
    return images.image(index)


def sample_of(image: Image.Image, key: str, label: int = 0, round_: int = 0) -> Sample:
    name = fashion().train.class_names[label]
    request = Request(
        key=key, label=label, class_name=name, prompt=f"a photo of {name}", seed=1, strategy="text-only", round=round_
    )
    return Sample(request=request, image=image, latents=torch.zeros(4, 2, 2), mask=None, seconds=0.1)


def store_of(folder: Path, images: Sequence[Image.Image], first: int = 0) -> Store:
    store = Store(folder)
    for number, image in enumerate(images, start=first):
        store.add(sample_of(image, f"r000-{number:05d}"), FACTS)
    return store


def jpeg(image: Image.Image, quality: int = 75) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def mirrored(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def resized(image: Image.Image, side: int) -> Image.Image:
    return image.resize((side, side), Image.Resampling.BICUBIC)
