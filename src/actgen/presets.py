"""How images are drawn: every number of the engine in one frozen dataclass, and the named sets of them.

What the paper, its released code and we do differently in drawing is a value here, never a fork.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .errors import UserError
from .guides.image import ImageGuidance
from .guides.text import TextGuidance

PREVIOUS = ("grid", "stride")


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """Settings of one drawing: sampler, classifier-free guidance, and the guides that requests may switch on.

    `guidance_scale` 1 draws without classifier-free guidance (half the cost). `eta` 1 is DDPM's posterior walk, 0 is DDIM.
    `attention_resolution` 0 reads the maps nearest to a quarter of the latent size.
    """

    num_inference_steps: int = 40
    guidance_scale: float = 7.5
    eta: float = 1.0
    previous: str = "grid"
    attention_resolution: int = 0
    batch_size: int = 32
    image: ImageGuidance = field(default_factory=ImageGuidance)
    text: TextGuidance = field(default_factory=TextGuidance)

    def __post_init__(self) -> None:
        if self.previous not in PREVIOUS:
            raise UserError(f"drawing.previous = {self.previous!r} is unknown; allowed: {', '.join(PREVIOUS)}.")


PRESETS: dict[str, Drawing] = {
    "default": Drawing(),
    "paper": Drawing(text=TextGuidance(until=1.0)),
    "tiny": Drawing(
        num_inference_steps=20,
        guidance_scale=1.0,
        eta=0.0,
        batch_size=64,
        attention_resolution=8,
        # The linear schedule buries an image earlier than SD's: abar = 0.045, where SD is at step 8 of 40, comes at step 18.
        image=ImageGuidance(offset=18.0),
    ),
    "code": Drawing(
        previous="stride",
        image=ImageGuidance(reference_steps=0, mask="cumulative", both_halves=True, token=4, negligible=0.0),
        text=TextGuidance(norm="token-columns", both_halves=True, margin=100.0, margin_scaled=False, double_mapped=True),
    ),
}
