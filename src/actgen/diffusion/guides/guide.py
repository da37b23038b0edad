"""What a guide is: its name, what it needs, and how it is bound to the images of one batch.

A guide of your own is one class in one file: derive from `Guide`, give it a `name` and its `needs`, return a `BoundGuide` from
`bind`, and call `register_guide` (`guides/__init__.py`). Requests then switch it on by its name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from torch import Tensor

from ...core.types import Request
from ..denoising import BoundGuide
from ..noise import Noises
from ..pipeline import PipelineAdapter
from ..solver import Solver

ATTENTION, SOURCE, CLASSIFIER, BANK, MASKS = "attention", "source", "classifier", "bank", "masks"
NEEDS = frozenset({ATTENTION, SOURCE, CLASSIFIER, BANK, MASKS})

Options = TypeVar("Options")


class GuideSettings(Protocol):
    """The settings of a generated image, as far as guides know them (`generation/presets.py`)."""

    @property
    def attention_resolution(self) -> int:
        """Size of the attention maps; 0 is chosen by the latent size."""
        ...

    def of(self, kind: type[Options]) -> Options:
        """Return the options of that type: `ImageGuidance`, `TextGuidance` or `EntropyGuidance`."""
        ...


@dataclass(frozen=True, kw_only=True)
class GuideContext:
    """What a guide may look at when it is bound to the B images of one batch.

    `guides`: the names of all guides that act on the batch. `first`: the step at which it starts. `source` [B, C, h, w]: clean
    latents of the requests' real images, for `SOURCE` or image-to-image. `held` [B, 1, h, w] in {0, 1}: what is to be the real
    image's, for `MASKS`. `logits` and `features`: what the classifier makes of clean latents, [B, K] and [B, D] of unit length,
    with a graph, for `CLASSIFIER`. `earlier` and `earlier_features`: the bank of a label on the device, [M, C, h, w] and
    [M, D], for `BANK`. At most `together` pictures pass the autoencoder at once.
    """

    settings: GuideSettings
    requests: Sequence[Request]
    guides: tuple[str, ...]
    adapter: PipelineAdapter
    solver: Solver
    noises: Noises
    first: int
    together: int
    source: Tensor | None
    held: Tensor | None
    logits: Callable[[Tensor], Tensor]
    features: Callable[[Tensor], Tensor]
    earlier: Callable[[int], Tensor]
    earlier_features: Callable[[int], Tensor]


class Guide(ABC):
    """Something that pulls images while they are generated; requests switch it on by its `name`.

    `needs`: what it may look at beside the request, of `NEEDS`; it is there when the guide is bound. Guides that need the bank
    do not act while that holds nothing of a request's class.
    """

    name: str
    needs: frozenset[str] = frozenset()

    def needed(self, settings: GuideSettings) -> frozenset[str]:
        """Return those of its `needs` that it has with these settings: all."""
        return self.needs

    def acts(self, settings: GuideSettings) -> bool:
        """Whether it changes anything with these settings."""
        return True

    def check(self, settings: GuideSettings, adapter: PipelineAdapter, prompts: Sequence[tuple[str, str]]) -> None:
        """Raise `UserError` if the generator cannot be guided so; `prompts` are pairs of a prompt and the class words in it."""
        return

    @abstractmethod
    def bind(self, context: GuideContext) -> BoundGuide | None:
        """Return the guide for the images of one batch; None if another guide of the batch does its part as well."""
