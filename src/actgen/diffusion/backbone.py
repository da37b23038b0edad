"""What the denoising loop asks of a generator's network, whatever its kind: texts, predictions, schedule, attention."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from .solver import Solver

Foreign = Any
"""Objects of diffusers and transformers, whose own types say little."""

Words = Sequence[Sequence[int]]
"""For each image of a batch the positions of some words among the rows of its text."""


@dataclass(frozen=True)
class Conditions:
    """What the network is told beside latents and time, for B images; row 0 unconditional, row 1 of the prompts.

    `text_2BLD`: token embeddings; [1, B, L, D], the prompts' alone, where the pipeline itself joins both. `added`: SDXL's
    pooled text and sizes, each [2, B, ...]. `prompts`: the texts themselves, for networks called through their pipeline.
    """

    text_2BLD: Tensor
    added: dict[str, Tensor] = field(default_factory=dict)
    prompts: tuple[str, ...] = ()


class Recorder(Protocol):
    """Hears attention while a network is called."""

    def take(self, images: int) -> Tensor:
        """Return what was heard as [columns, branches, B, h, w], a column for each of the asked words; deaf from now on."""
        ...


class Backbone(Protocol):
    """A network with its text encoders, as `PipelineAdapter` uses it; the text's rows are L long."""

    network: Foreign

    @property
    def factor(self) -> int:
        """Pixels per latent place and axis."""
        ...

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, h, w) of the latents."""
        ...

    @property
    def embeds_guidance_scale(self) -> bool:
        """Whether the network is told the guidance scale, or ignores it, so that no second branch is needed."""
        ...

    def branches(self, guidance_scale: float) -> int:
        """Return 2 if this scale takes classifier-free guidance, else 1."""
        ...

    @property
    def text_length(self) -> int:
        """The largest number of rows of a text."""
        ...

    def encode_text(self, prompts: Sequence[str]) -> Conditions:
        """Return what the network reads of prompts."""
        ...

    def forget_texts(self) -> None:
        """Encode every prompt anew from now on."""
        ...

    def real_tokens(self, prompt: str) -> Tensor:
        """Return which rows of a prompt's text are no padding, [L] bool."""
        ...

    def token_positions(self, prompt: str, words: str) -> list[int]:
        """Return the rows of a prompt's text that spell `words`; `UserError` if it does not."""
        ...

    def predict(
        self, x: Tensor, timestep: Tensor, conditions: Conditions, guidance_scale: float, *, graph: int, plain: bool
    ) -> Tensor:
        """Return the network's output [B, C, h, w] in float32, guided without a classifier."""
        ...

    def solver(self, steps: int, scheduler: str, eta: float, previous: str) -> Solver:
        """Return the solver of a name over this generator's schedule; `UserError` if it cannot take it."""
        ...

    def map_resolution(self, wanted: int) -> int:
        """Return the side of the attention maps, `wanted` if not 0; `UserError` if there are none of that side."""
        ...

    def recording(self, words: Sequence[Words], resolution: int) -> AbstractContextManager[Recorder]:
        """Hear inside how much attention each place of the image gives to `words`."""
        ...
