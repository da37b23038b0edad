"""What an adaptation of a generator depends on, beside the generator and the data."""

from __future__ import annotations

from dataclasses import field, fields
from typing import Annotated, Any

from pydantic import Field

from ..core.options import LARGEST_WHOLE, Choices, options
from .optimise import Schedule

PRECISIONS = ("no", "bf16", "fp16")
_RATES = {"lora": 1e-4, "full": 1e-5}


@options("--")
class LoraOptions:
    """The added matrices (Hu et al. 2022)."""

    rank: Annotated[int, Field(ge=1, le=4096, description="Rank of the LoRA.")] = 8
    alpha: Annotated[int | None, Field(ge=1, le=10**6, description="The LoRA is scaled by alpha/rank; none: the rank.")] = None
    text_encoder: Annotated[bool, Field(description="LoRA for the text encoders too.")] = False

    @property
    def scale(self) -> float:
        """What the product of the two matrices is multiplied by."""
        return (self.alpha or self.rank) / self.rank


@options("--")
class AdaptOptions:
    """How a generator is adapted: LoRA if `lora` is given, else all weights of the UNet."""

    lora: LoraOptions | None = field(default_factory=LoraOptions)
    steps: Annotated[int, Field(ge=1, le=10**9, description="Optimiser steps.")] = 1000
    batch_size: Annotated[int, Field(ge=1, le=10**6, description="Images a step.")] = 4
    learning_rate: Annotated[
        float | None, Field(ge=1e-12, le=10, description="Of the optimiser; none: 1e-4 for LoRA, 1e-5 for all weights.")
    ] = None
    resolution: Annotated[int | None, Field(ge=1, le=8192, description="Size in pixels; none: the generator's own.")] = None
    ema: Annotated[float, Field(ge=0, le=0.999999, description="Decay of a moving average of the weights; 0: none.")] = 0.0
    precision: Annotated[str, Choices(PRECISIONS), Field(description="Mixed precision.")] = "no"
    gradient_checkpointing: Annotated[bool, Field(description="Less memory, a third more time.")] = False
    prior_preservation: Annotated[
        float,
        Field(ge=0, le=1e3, description="Weight of the loss on images generated beforehand (Ruiz et al. 2023, eq. 2)."),
    ] = 0.0
    prior_images: Annotated[int, Field(ge=1, le=10**7, description="How many of these.")] = 200
    caption_dropout: Annotated[float, Field(ge=0, le=1, description="Fraction of empty prompts (Ho & Salimans 2022).")] = 0.1
    min_snr: Annotated[
        float, Field(ge=0, le=1e6, description="Gamma of min-SNR weights, as 5 (Hang et al. 2023); 0: equal weights.")
    ] = 0.0
    sample_every: Annotated[
        int, Field(ge=0, le=10**9, description="Generate a sheet of samples every so many steps; 0: after the last only.")
    ] = 500
    seed: Annotated[int, Field(ge=0, le=LARGEST_WHOLE, description="Everything random follows from it.")] = 0

    @property
    def way(self) -> str:
        """What is trained: "lora" or "full"."""
        return "full" if self.lora is None else "lora"

    @property
    def schedule(self) -> Schedule:
        """The optimisation."""
        rate = self.learning_rate or _RATES[self.way]
        return Schedule(steps=self.steps, batch_size=self.batch_size, learning_rate=rate, ema=self.ema)


def as_flags(options: AdaptOptions) -> list[str]:
    """Return the options that are not the usual ones as a command line has them."""
    given = _changed(options, AdaptOptions())
    return ["--full", *given] if options.lora is None else ["--lora", *_changed(options.lora, LoraOptions()), *given]


def _changed(options: Any, usual: Any) -> list[str]:
    words: list[str] = []
    for one in fields(options):
        value = getattr(options, one.name)
        if one.name != "lora" and value != getattr(usual, one.name):
            flag = f"--{one.name.replace('_', '-')}"
            words += [flag] if value is True else [flag, str(value)]
    return words
