"""The sampler of the controls without a generator: every image is a copy of its source image."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import torch

from ..core.rows import GeneratorColumns
from ..core.types import Request, Sample
from ..data.datasets.imageset import fit_square
from ..diffusion.guides.bank import MemoryBank
from .presets import SamplingConfig
from .sampler import FailedRequest, Sampler
from .sampling_context import NOTHING, GuideImage, SamplingContext


class CopySampler(Sampler):
    """Copies the real images that requests name, fitted to `image_size` pixels."""

    def __init__(self, image_size: int) -> None:
        self.image_size, self.sampling, self.bank = image_size, SamplingConfig(), MemoryBank()
        self.batch_size = self.sampling.batch_size
        self.failed: list[FailedRequest] = []

    @property
    def facts(self) -> GeneratorColumns:
        """No generator."""
        return {"generator": "", "generator_hash": "", "loading": {}}

    def sample_batches(self, requests: Sequence[Request], context: SamplingContext = NOTHING) -> Iterator[list[Sample]]:
        """Yield the copies a batch at a time, but for those whose keys are done."""
        assert context.guide_image is not None, "a copy needs a resolver for its source"
        waiting = [request for request in requests if request.key not in context.done]
        for start in range(0, len(waiting), self.batch_size):
            yield [self._copy(request, context.guide_image) for request in waiting[start : start + self.batch_size]]

    def _copy(self, request: Request, guide_image: GuideImage) -> Sample:
        began = time.perf_counter()
        image = fit_square(guide_image(request), self.image_size)
        return Sample(request=request, image=image, latents=torch.empty(0), mask=None, seconds=time.perf_counter() - began)
