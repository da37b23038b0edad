"""What an adaptation of a generator depends on, beside the generator and the data."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from ..core.errors import refuse_outside, refuse_unknown
from .optimise import Schedule

PRECISIONS = ("no", "bf16", "fp16")
_RATES = {"lora": 1e-4, "full": 1e-5}


@dataclass(frozen=True, kw_only=True)
class LoraOptions:
    """`rank` of the added matrices; they are scaled by `alpha`/`rank` (Hu et al. 2022), `alpha` None is `rank`.

    `text_encoder` adapts the text encoders too.
    """

    rank: int = 8
    alpha: int | None = None
    text_encoder: bool = False

    def __post_init__(self) -> None:
        refuse_outside("--rank", self.rank, 1, 4096)
        refuse_outside("--alpha", self.alpha, 1, 1e6)

    @property
    def scale(self) -> float:
        """What the product of the two matrices is multiplied by."""
        return (self.alpha or self.rank) / self.rank


@dataclass(frozen=True, kw_only=True)
class AdaptOptions:
    """How a generator is adapted: LoRA if `lora` is given, else all weights of the UNet.

    `learning_rate` None is 1e-4 for LoRA and 1e-5 for all weights; `resolution` (pixels) None is the generator's own; `ema` is
    the decay of a moving average of the weights, 0 for none; `precision` is what accelerate calls mixed precision.
    `prior_preservation` weighs the loss on `prior_images` generated beforehand (Ruiz et al. 2023, eq. 2); `caption_dropout` is
    the fraction of empty prompts (Ho & Salimans 2022); `min_snr` is gamma of Hang et al. 2023, 0 for equal weights. A sheet of
    samples is generated every `sample_every` steps, 0 for the last one only.
    """

    lora: LoraOptions | None = field(default_factory=LoraOptions)
    steps: int = 1000
    batch_size: int = 4
    learning_rate: float | None = None
    resolution: int | None = None
    ema: float = 0.0
    precision: str = "no"
    gradient_checkpointing: bool = False
    prior_preservation: float = 0.0
    prior_images: int = 200
    caption_dropout: float = 0.1
    min_snr: float = 0.0
    sample_every: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        refuse_unknown("--precision", self.precision, PRECISIONS)
        for name, (low, high) in _RANGES.items():
            refuse_outside(f"--{name.replace('_', '-')}", getattr(self, name), low, high)

    @property
    def way(self) -> str:
        """What is trained: "lora" or "full"."""
        return "full" if self.lora is None else "lora"

    @property
    def schedule(self) -> Schedule:
        """The optimisation."""
        rate = self.learning_rate or _RATES[self.way]
        return Schedule(steps=self.steps, batch_size=self.batch_size, learning_rate=rate, ema=self.ema)


_RANGES: dict[str, tuple[float, float]] = {
    "steps": (1, 1e9),
    "batch_size": (1, 1e6),
    "learning_rate": (1e-12, 10),
    "resolution": (1, 8192),
    "ema": (0, 0.999999),
    "prior_preservation": (0, 1e3),
    "prior_images": (1, 1e7),
    "caption_dropout": (0, 1),
    "min_snr": (0, 1e6),
    "sample_every": (0, 1e9),
    "seed": (0, 2**62),
}


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
