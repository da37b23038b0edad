"""How images are generated: every number of the engine in one frozen dataclass, and the named sets of them.

What the paper, its released code and we do differently in generating is a value here, never a fork.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar

from ..core.errors import refuse_unknown
from ..diffusion.denoising import ClassifierFreeGuidance
from ..diffusion.guides.entropy import EntropyGuidance
from ..diffusion.guides.image import OWN, ImageGuidance
from ..diffusion.guides.text import TextGuidance
from ..diffusion.solvers import AUTO, NAMES

PREVIOUS = ("grid", "stride")
Options = TypeVar("Options")


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """Settings of one generated image: sampler, classifier-free guidance, and the guides that requests may switch on.

    `scheduler`: one of `NAMES`, or "auto", the generator's own. `guidance_scale` up to 1 generates without classifier-free
    guidance (half the cost); `guidance_start` and `guidance_stop` limit it to a part of the schedule. `eta` is that of the
    scheduler "ddim". `attention_resolution` 0 reads the maps nearest to a quarter of the latent size.
    """

    num_inference_steps: int = 25
    scheduler: str = "dpm++"
    guidance_scale: float = 7.5
    guidance_start: float = 0.2
    guidance_stop: float = 0.6
    eta: float = 0.0
    previous: str = "grid"
    attention_resolution: int = 0
    batch_size: int = 32
    image: ImageGuidance = field(default_factory=ImageGuidance)
    text: TextGuidance = field(default_factory=TextGuidance)
    entropy: EntropyGuidance = field(default_factory=EntropyGuidance)

    def __post_init__(self) -> None:
        refuse_unknown("sampling.previous =", self.previous, PREVIOUS)
        refuse_unknown("sampling.scheduler =", self.scheduler, (AUTO, *NAMES))

    def of(self, kind: type[Options]) -> Options:
        """Return the options of a guide by their type (`diffusion/guides/guide.py`)."""
        for value in vars(self).values():
            if isinstance(value, kind):
                return value
        raise AssertionError(f"no settings of the type {kind.__name__}")

    @property
    def classifier_free_guidance(self) -> ClassifierFreeGuidance:
        """Classifier-free guidance as the denoising loop takes it."""
        return ClassifierFreeGuidance(scale=self.guidance_scale, start=self.guidance_start, stop=self.guidance_stop)


_RELEASED: dict[str, Any] = {"num_inference_steps": 40, "scheduler": "ddpm", "guidance_start": 0.0, "guidance_stop": 1.0}

PRESETS: dict[str, SamplingConfig] = {
    # A second-order solver in 25 steps, and classifier-free guidance where it matters: measured in benchmarks/sampling.py
    "default": SamplingConfig(image=ImageGuidance(negligible=1e-3)),
    "paper": SamplingConfig(
        **_RELEASED, image=ImageGuidance(noise=OWN), text=TextGuidance(norm="image", step_size=2.26, until=1.0)
    ),
    "code": SamplingConfig(
        **_RELEASED,
        previous="stride",
        image=ImageGuidance(reference_steps=0, mask="cumulative", both_branches=True, token=4, negligible=0.0, noise=OWN),
        text=TextGuidance(
            norm="token-columns",
            step_size=0.05,
            both_branches=True,
            margin=100.0,
            margin_scaled=False,
            view_scale=0.18215,
            double_mapped=True,
        ),
    ),
    "fast": SamplingConfig(
        num_inference_steps=20,
        guidance_start=0.3,
        guidance_stop=0.5,
        image=ImageGuidance(negligible=1e-2, mask_stop=0.25),
        text=TextGuidance(until=0.0),
    ),
    "quality": SamplingConfig(num_inference_steps=50, guidance_start=0.0, guidance_stop=1.0, text=TextGuidance(until=0.5)),
    # few steps, no classifier-free guidance, the generator's own scheduler: Turbo and LCM pipelines
    "turbo": SamplingConfig(
        num_inference_steps=4,
        scheduler=AUTO,
        guidance_scale=1.0,
        guidance_start=0.0,
        guidance_stop=1.0,
        text=TextGuidance(until=0.5),
    ),
    "tiny": SamplingConfig(
        num_inference_steps=20,
        scheduler="ddim",
        guidance_scale=1.0,
        guidance_start=0.0,
        guidance_stop=1.0,
        batch_size=64,
        attention_resolution=8,
        # The linear schedule buries an image earlier than SD's: abar = 0.045, where SD is at step 8 of 40, comes at step 18.
        # By noise level (position = "noise") its hand-over came 1.4 of its 20 steps later, images nearer to the guide.
        image=ImageGuidance(offset=18.0),
        text=TextGuidance(step_size=0.06),
    ),
}
