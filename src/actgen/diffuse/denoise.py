"""The one loop in which a picture comes into being, and the protocol of what may bend it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from .attention import recording
from .backbone import Backbone
from .walk import Walk


@dataclass(frozen=True)
class Batch:
    """What the loop starts from, for B images.

    `text_2BLD`: embeddings, row 0 unconditional, row 1 of the prompts; `latents_BCHW`: unit noise; `noise_at(i)`: the unit
    noise of step i, [B, C, H, W].
    """

    text_2BLD: Tensor
    latents_BCHW: Tensor
    noise_at: Callable[[int], Tensor]


@dataclass(frozen=True)
class Step:
    """One denoising step while it is being bent.

    `latents` entered the step; `x0` is the clean latent predicted from them (with a graph back to `text` if a guide asked
    for one); `proposed` enters the next step, as does `next_text`. `attention` [2, B, R, R, L] (or [1, ...] without
    classifier-free guidance) is there when a guide asked for it.
    """

    index: int
    steps: int
    latents: Tensor
    text: Tensor
    output: Tensor
    x0: Tensor
    noise: Tensor
    attention: Tensor | None
    proposed: Tensor
    next_text: Tensor

    def with_proposed(self, latents: Tensor) -> Step:
        """Return this step with other latents for the next one."""
        return replace(self, proposed=latents)

    def with_next_text(self, text: Tensor) -> Step:
        """Return this step with another text embedding for the next one."""
        return replace(self, next_text=text)


class Guide(Protocol):
    """A force on the trajectory, bound to the images of one batch."""

    def reads_attention(self, index: int) -> bool:
        """Whether step `index` must record attention maps."""
        ...

    def reads_gradient(self, index: int) -> bool:
        """Whether `x0` of step `index` must carry a graph back to the text."""
        ...

    def bend(self, step: Step) -> Step:
        """Return the step with other latents or text."""
        ...


def denoise(
    backbone: Backbone, walk: Walk, batch: Batch, *, guidance_scale: float, guides: Sequence[Guide] = (),
    attention_resolution: int | None = None,
) -> Iterator[Step]:  # fmt: skip
    """Walk from noise to image, yielding each `Step` after the guides have bent it; the last `proposed` is the result.

    With no guides this is the stock pipeline's own loop of DDIM and DDPM. The UNet comes back as it was found, also when the
    caller stops in the middle or a guide raises.
    """
    x, text = batch.latents_BCHW, batch.text_2BLD
    size = x.shape[-1]
    with ExitStack() as stack:
        recorder = None
        if attention_resolution is not None:
            recorder = stack.enter_context(recording(backbone.unet, size, attention_resolution))
        for index, timestep in enumerate(walk.timesteps):
            graph = any(guide.reads_gradient(index) for guide in guides)
            if recorder is not None:
                recorder.active = any(guide.reads_attention(index) for guide in guides)
            with torch.set_grad_enabled(graph):
                text = text.detach().requires_grad_(graph)
                output = backbone.predict(x, timestep, text, guidance_scale)
                x0 = walk.x0(x, output, index)
            attention = _by_half(recorder.take(), len(x)) if recorder is not None and recorder.maps else None
            noise = batch.noise_at(index)
            proposed = walk.advance(x, x0.detach(), noise, index)
            step = Step(index, len(walk), x, text, output.detach(), x0, noise, attention, proposed, text.detach())
            for guide in guides:
                step = guide.bend(step)
            x, text = step.proposed.detach(), step.next_text.detach()
            yield step


def _by_half(maps: Tensor, images: int) -> Tensor:
    """[halves * B, R, R, L] -> [halves, B, R, R, L]."""
    halves: Tensor = maps.unflatten(0, (-1, images))
    return halves
