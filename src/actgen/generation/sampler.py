"""Requests -> samples: group them by the guides that act, generate batch by batch, and let nothing broken through."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..classifiers.zero_shot import ZeroShot
from ..core.class_words import class_prompt, class_words
from ..core.errors import UserError
from ..core.memory import is_out_of_memory
from ..core.prompts import Wording
from ..core.rows import GeneratorColumns
from ..core.types import Request, Sample
from ..data.datasets.masks import Masks
from ..diffusion.denoising import denoise
from ..diffusion.guides import GUIDES
from ..diffusion.guides.bank import MemoryBank
from ..diffusion.guides.image import unit_range
from ..diffusion.loading import Loading
from ..diffusion.pipeline import PipelineAdapter
from .batching import Kind, Opened, Opener, make_own_solver
from .presets import PRESETS, SamplingConfig
from .sampling_context import NOTHING, SamplingContext

BLACK = 2  # grey levels of 255: at most this everywhere is no picture
_HIGHER = {torch.float16: torch.float32, torch.bfloat16: torch.float32, torch.float32: torch.float64}


@dataclass(frozen=True)
class FailedRequest:
    """A request that gave no picture, twice."""

    key: str
    reason: str


class OutOfMemory(UserError):
    """A single image does not fit."""


class Sampler(Protocol):
    """What a round asks of whoever generates: `ImageSampler`, `CopySampler` for the control that generates nothing new, or one
    around these.

    `sampling` are the settings of its images, `bank` what it remembers of earlier ones; `batch_size` are generated at a time.
    `failed`: the requests that gave no picture.
    """

    sampling: SamplingConfig
    bank: MemoryBank
    batch_size: int
    failed: list[FailedRequest]

    @property
    def together(self) -> int:
        """How many requests come with one yield of `sample_batches`, at most."""
        return self.batch_size

    @property
    @abstractmethod
    def facts(self) -> GeneratorColumns:
        """What a picture depends on beside its request and the settings: the generator's columns of the manifest."""

    @property
    def judges(self) -> dict[str, ZeroShot]:
        """The CLIP models that it asks about its pictures, by the setting that names them."""
        return {}

    def groups(self, requests: Sequence[Request]) -> list[list[Request]]:
        """Return the requests in the order of generating; those of one group may share a batch."""
        return [list(requests)]

    def generate(self, requests: Sequence[Request], context: SamplingContext = NOTHING) -> Iterator[Sample]:
        """Yield a sample for every request but the failed ones."""
        for batch in self.sample_batches(requests, context):
            yield from batch

    @abstractmethod
    def sample_batches(self, requests: Sequence[Request], context: SamplingContext = NOTHING) -> Iterator[list[Sample]]:
        """Yield the samples of one batch after the other, but for those that are `done`."""


class ImageSampler(Sampler):
    """Generates requests with a generator. Holds the memory bank; the caller adds to it (`round.py`).

    `masks` knows the objects in the real images, for `sampling.image.mask` "given".
    `batch_size` starts as the settings have it and is halved when memory does not suffice; `failed` are requests that gave no
    picture in any precision.
    """

    def __init__(
        self,
        adapter: PipelineAdapter,
        sampling: SamplingConfig | None = None,
        bank: MemoryBank | None = None,
        masks: Masks | None = None,
    ) -> None:
        self.adapter, self.masks = adapter, masks
        self.sampling = PRESETS["default"] if sampling is None else sampling
        self.bank = MemoryBank() if bank is None else bank
        self.batch_size = self.sampling.batch_size
        self.failed: list[FailedRequest] = []
        make_own_solver(adapter, self.sampling)  # steps that this generator cannot take are found before anything is generated

    @classmethod
    def from_pretrained(
        cls, path_or_id: str, *, preset: str = "default", device: str = "cpu", loading: Loading | None = None
    ) -> ImageSampler:
        """Load a diffusers pipeline folder or hub id as a sampler with the settings of a named preset."""
        return cls(PipelineAdapter.from_pretrained(path_or_id, device=device, loading=loading), PRESETS[preset])

    @property
    def facts(self) -> GeneratorColumns:
        """The generator's columns of the manifest."""
        return self.adapter.facts

    def check_guides(self, class_names: Sequence[str], prompts: Wording | None = None) -> None:
        """Raise `UserError` before anything is generated if this generator cannot be guided for one of the classes.

        `prompts`: those of classes with another than the usual, by name.
        """
        pairs = []
        for name in class_names:
            wording = (prompts or {}).get(name, class_prompt(name))
            pairs += [(prompt, class_words(name)) for prompt in ((wording,) if isinstance(wording, str) else wording)]
        for guide in GUIDES.values():
            guide.check(self.sampling, self.adapter, pairs)

    def groups(self, requests: Sequence[Request]) -> list[list[Request]]:
        """Return the requests by the guides that act on them."""
        return list(_by_kind(Opener(self.adapter, self.sampling, self.bank), requests).values())

    def sample_batches(self, requests: Sequence[Request], context: SamplingContext = NOTHING) -> Iterator[list[Sample]]:
        """Yield what `generate` yields, a batch at a time; failed ones are in `failed` when their batch comes."""
        opener = Opener(self.adapter, self.sampling, self.bank, context, self.masks)
        for kind, members in _by_kind(opener, requests).items():
            waiting = [request for request in members if request.key not in context.done]
            while waiting:
                generated = self._sample_batch(opener, waiting[: self.batch_size], kind)
                waiting = waiting[len(generated) :]
                yield list(self._whole(opener, generated, kind))

    def _whole(self, opener: Opener, generated: list[Sample], kind: Kind) -> Iterator[Sample]:
        """Yield the pictures; broken ones are generated once more in higher precision, and fail if that does not help."""
        for sample in generated:
            reason, higher = flaw(sample), _HIGHER.get(self.adapter.dtype)
            if reason and higher is not None:
                sample, reason = self._once_more(opener, sample, kind, reason, higher)
            if reason:
                self.failed.append(FailedRequest(sample.request.key, reason))
            else:
                yield sample

    def _once_more(self, opener: Opener, broken: Sample, kind: Kind, reason: str, dtype: torch.dtype) -> tuple[Sample, str]:
        """Return the picture generated again in `dtype`, and what is still wrong with it."""
        name = str(dtype).removeprefix("torch.")
        try:
            (again,) = self._sample_batch(opener, [broken.request], kind, dtype)
        except OutOfMemory:
            return broken, f"{reason}; does not fit into memory in {name}"
        still = flaw(again)
        return replace(again, regenerated=reason), f"{reason}; {still} in {name}" if still else ""

    def _sample_batch(
        self, opener: Opener, requests: Sequence[Request], kind: Kind, dtype: torch.dtype | None = None
    ) -> list[Sample]:
        """Generate requests, or as many of the first as memory allows."""
        while True:
            try:
                return self._try_batch(opener, requests, kind, dtype)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if len(requests) == 1:
                    raise OutOfMemory(
                        f"one image of {self.adapter.image_size} pixels does not fit into memory with the guides "
                        f"{', '.join(kind.guides) or 'none'}. Try --set loading.gradient_checkpointing=true, "
                        'loading.dtype=float16, loading.offload=true, or sampling.text.decoder="half".'
                    ) from error
            requests = requests[: len(requests) // 2]  # outside of the except block, which keeps the failed batch alive
            self.batch_size = len(requests)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _try_batch(self, opener: Opener, requests: Sequence[Request], kind: Kind, dtype: torch.dtype | None) -> list[Sample]:
        began = time.perf_counter()
        sampling = self.sampling
        with self.adapter.borrowed(dtype):
            opened = opener.open(requests, kind)
            latents = opened.batch.latents_BCHW
            for step in denoise(
                self.adapter,
                opened.solver,
                opened.batch,
                classifier_free_guidance=sampling.classifier_free_guidance,
                guides=opened.guides,
                attention_resolution=opened.attention_resolution,
            ):
                latents = step.next_latents
            with torch.no_grad():
                decoded = torch.cat([self.adapter.decode(some) for some in latents.split(opener.together)])
        pictures = _to_images(decoded)
        latents = torch.where(_finite(decoded), latents, torch.full_like(latents, torch.nan))  # what does not decode is broken
        if opened.held:
            pictures = [held.composite(picture) for held, picture in zip(opened.held, pictures, strict=True)]
        seconds = (time.perf_counter() - began) / len(requests)
        masks = _shown_masks(opened, len(requests))
        return [
            Sample(
                request=request,
                image=pictures[k],
                latents=latents[k].float().cpu(),
                mask=masks[k],
                seconds=seconds,
                held=opened.held[k].digest if opened.held else None,
            )
            for k, request in enumerate(requests)
        ]


def _shown_masks(opened: Opened, count: int) -> Sequence[Tensor | None]:
    """Return [h, w] in [0, 1] for each image: where the first guide with a mask pulled; None without one."""
    for guide in opened.guides:
        if (mask := guide.mask) is not None:
            return list((mask if opened.held else unit_range(mask))[:, 0].float().cpu())
    return [None] * count


def _by_kind(opener: Opener, requests: Sequence[Request]) -> dict[Kind, list[Request]]:
    groups: dict[Kind, list[Request]] = {}
    for request in requests:
        groups.setdefault(opener.kind(request), []).append(request)
    return groups


def flaw(sample: Sample) -> str:
    """Return what is wrong with a picture: "not finite", "all black", or "" if nothing is."""
    if not bool(torch.isfinite(sample.latents).all()):
        return "not finite"
    return "all black" if int(np.asarray(sample.image).max()) <= BLACK else ""


def _finite(images_B3SS: Tensor) -> Tensor:
    """Return [B, 1, 1, 1]: whether every pixel is a number."""
    return torch.isfinite(images_B3SS).flatten(1).all(dim=1).view(-1, 1, 1, 1)


def _to_images(images_B3SS: Tensor) -> list[Image.Image]:
    levels = (torch.nan_to_num(images_B3SS) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(array) for array in levels]
