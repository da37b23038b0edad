"""The denoising loop, and the protocol of the guides that act in it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from ..core.options import options
from .backbone import Conditions, Words
from .pipeline import PipelineAdapter
from .solver import Solver


@dataclass(frozen=True)
class Batch:
    """What the loop starts from, for B images.

    `latents_BCHW`: unit noise; `noise_at(i)`: the unit noise of step i, [B, C, H, W], asked for in order. Image-to-image starts
    at step `first` from the clean latents `source_BCHW`, noised.
    """

    conditions: Conditions
    latents_BCHW: Tensor
    noise_at: Callable[[int], Tensor]
    source_BCHW: Tensor | None = None
    first: int = 0


@dataclass(frozen=True)
class Step:
    """One denoising step while guides act on it.

    `latents` entered the step; `x0` is the clean latent predicted from them (with a graph back to `text` if a guide asked
    for one); `next_latents` enters the next step, as does `next_text`. `attention` [2, B, R, R] (or [1, ...] of the prompts'
    branch alone) is what each place gives to the words of the guide that asked for it; every guide finds its own there.
    """

    index: int
    steps: int
    latents: Tensor
    text: Tensor
    output: Tensor
    x0: Tensor
    noise: Tensor
    attention: Tensor | None
    next_latents: Tensor
    next_text: Tensor

    def with_next_latents(self, latents: Tensor) -> Step:
        """Return this step with other latents for the next one."""
        return replace(self, next_latents=latents)

    def with_next_text(self, text: Tensor) -> Step:
        """Return this step with another text embedding for the next one."""
        return replace(self, next_text=text)


class BoundGuide(ABC):
    """A guide bound to the images of one batch (`guides/guide.py`); what it does not say itself holds for most."""

    mask: Tensor | None = None
    """Where it pulls, [B, 1, h, w]; None if it pulls everywhere, or has not pulled yet."""

    words: Words = ()
    """For each image the rows of its text whose attention it reads."""

    def reads_attention(self, index: int) -> bool:
        """Whether step `index` must record the attention to its `words`: never."""
        return False

    def gradient_branches(self, index: int) -> int:
        """How many branches of the text `x0` of step `index` must carry a graph back to, 0, 1 (the prompts') or 2: none."""
        return 0

    @abstractmethod
    def apply(self, step: Step) -> Step:
        """Return the step with other latents or text."""


@options("classifier_free_guidance")
class ClassifierFreeGuidance:
    """Classifier-free guidance (Ho & Salimans 2022) in a part of the schedule.

    Outside of it the conditional prediction stands alone, at half the cost (limited interval: Kynkaanniemi et al. 2024).
    """

    scale: Annotated[float, Field(ge=0, le=100, description="The guidance scale.")] = 7.5
    start: Annotated[float, Field(ge=0, le=1, description="The fraction of the schedule from which on it acts.")] = 0.0
    stop: Annotated[float, Field(ge=0, le=1, description="The fraction of the schedule up to which it acts.")] = 1.0

    def at(self, index: int, steps: int) -> float:
        """Return the scale of step `index` of `steps`."""
        return self.scale if self.start <= index / steps < self.stop else min(self.scale, 1.0)


def denoise(
    adapter: PipelineAdapter,
    solver: Solver,
    batch: Batch,
    *,
    classifier_free_guidance: ClassifierFreeGuidance,
    guides: Sequence[BoundGuide] = (),
    attention_resolution: int | None = None,
) -> Iterator[Step]:
    """Walk from noise to image, yielding each `Step` after the guides have acted; the last `next_latents` is the result.

    With no guides this is the stock pipeline's own loop, for every scheduler. The network comes back as it was found, also when
    the caller stops in the middle or a guide raises.
    """
    x, text, last = solver.enter(batch.latents_BCHW, batch.source_BCHW, batch.first), batch.conditions.text_2BLD, None
    size = attention_resolution or 0
    timesteps = solver.timesteps.to(x.device)
    for index in range(batch.first, len(solver)):
        graph = max((guide.gradient_branches(index) for guide in guides), default=0)
        reading = [guide for guide in guides if size and guide.words and guide.reads_attention(index)]
        with adapter.recording([guide.words for guide in reading], size) if reading else nullcontext() as recorder:
            with torch.set_grad_enabled(graph > 0):
                text = text.detach().requires_grad_(graph > 0)
                conditioning = replace(batch.conditions, text_2BLD=text)
                scale = (
                    classifier_free_guidance.scale
                    if adapter.embeds_guidance_scale
                    else classifier_free_guidance.at(index, len(solver))
                )
                output = adapter.predict(x, timesteps[index], conditioning, scale, graph=graph, plain=not reading)
                x0 = solver.x0(x, output, index)
            maps = [] if recorder is None else list(recorder.take(len(x)))
            noise = batch.noise_at(index)
            next_latents = solver.advance(x, x0.detach(), noise, index, last)
            step = Step(index, len(solver), x, text, output.detach(), x0, noise, None, next_latents, text.detach())
            for guide in guides:
                attention = maps[reading.index(guide)] if guide in reading else None
                step = guide.apply(replace(step, attention=attention))
        x, text, last = step.next_latents.detach(), step.next_text.detach(), x0.detach()
        step, x0, output = replace(step, x0=last), last, step.output  # let go of the graph before the next one is built
        yield step
