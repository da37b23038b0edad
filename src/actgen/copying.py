"""The artist of the controls without a generator: every drawing is its source image, as it is."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from .classify.classifier import Classifier
from .data.imageset import fit_square
from .drawing import Refusal
from .guides.bank import MemoryBank
from .opening import GuideImage
from .presets import Drawing
from .records import Request, Sample


class Copyist:
    """Copies the real images that requests name, fitted to `image_size` pixels."""

    def __init__(self, image_size: int) -> None:
        self.image_size, self.drawing, self.bank = image_size, Drawing(), MemoryBank()
        self.refused: list[Refusal] = []

    @property
    def facts(self) -> dict[str, Any]:
        """No generator."""
        return {"generator": "", "generator_hash": "", "loading": {}}

    def draw(
        self, requests: Sequence[Request], *, guide_image: GuideImage | None = None, classifier: Classifier | None = None
    ) -> Iterator[Sample]:  # fmt: skip
        """Yield a copy for every request."""
        assert guide_image is not None, "a copy needs a resolver for its source"
        for request in requests:
            began = time.perf_counter()
            image = fit_square(guide_image(request), self.image_size)
            yield Sample(request=request, image=image, latents=torch.empty(0), mask=None, seconds=time.perf_counter() - began)
