"""How images are generated: every number of the engine in one frozen dataclass, and the named sets of them.

What the paper, its released code and we do differently in generating is a value here, never a fork.
"""

from __future__ import annotations

from dataclasses import field, replace
from typing import Annotated, Any, TypeVar

from pydantic import Field

from ..core.options import Choices, options
from ..diffusion.denoising import ClassifierFreeGuidance
from ..diffusion.guides.entropy import EntropyGuidance
from ..diffusion.guides.image import NOISE, OWN, ImageGuidance
from ..diffusion.guides.text import LATENT, TextGuidance
from ..diffusion.solvers import AUTO, NAMES

PREVIOUS = ("grid", "stride")
Options = TypeVar("Options")


@options("sampling")
class SamplingConfig:
    """Settings of one generated image: solver, classifier-free guidance, and the guides that requests may switch on."""

    num_inference_steps: Annotated[int, Field(ge=1, le=1000, description="Evaluations of the UNet an image.")] = 25
    scheduler: Annotated[str, Choices((AUTO, *NAMES)), Field(description="The solver; auto: the generator's own.")] = "dpm++"
    guidance_scale: Annotated[
        float, Field(ge=0, le=100, description="Of classifier-free guidance; up to 1: without, at half the cost.")
    ] = 7.5
    guidance_start: Annotated[float, Field(ge=0, le=1, description="From this fraction of the schedule on it acts.")] = 0.2
    guidance_stop: Annotated[float, Field(ge=0, le=1, description="Up to this fraction of the schedule it acts.")] = 0.6
    eta: Annotated[float, Field(ge=0, le=1, description="Of the solver ddim: 0 adds no noise, 1 as much as ddpm.")] = 0.0
    previous: Annotated[
        str,
        Choices(PREVIOUS),
        Field(description="The step after a timestep: the next one of the grid, or one stride on, as the released code does."),
    ] = "grid"
    attention_resolution: Annotated[
        int, Field(ge=0, le=1024, description="Side of the attention maps read; 0: those nearest to a quarter of the latents'.")
    ] = 0
    batch_size: Annotated[int, Field(ge=1, le=4096, description="Images generated at a time; halved where memory ends.")] = 32
    image: ImageGuidance = field(default_factory=ImageGuidance)
    text: TextGuidance = field(default_factory=TextGuidance)
    entropy: EntropyGuidance = field(default_factory=EntropyGuidance)

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

_FLOW = SamplingConfig(
    num_inference_steps=28,
    scheduler=AUTO,
    guidance_scale=4.5,
    guidance_start=0.0,
    guidance_stop=0.7,
    image=ImageGuidance(position=NOISE, negligible=1e-2, mask_stop=0.5),  # a shift in time moves steps, not noise
    text=TextGuidance(until=0.15),
)

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
    # flow matching: Stable Diffusion 3, Qwen-Image, Sana, Lumina 2, AuraFlow, CogView 4, Chroma, Flux 2 klein base
    "flow": _FLOW,
    # the scale is told to the network in every step: Flux dev
    "flow-embedded": replace(_FLOW, guidance_scale=3.5, guidance_stop=1.0, text=TextGuidance(until=0.15, through=LATENT)),
    # distilled to few steps without classifier-free guidance: Flux schnell, klein, Z-Image Turbo
    "flow-fast": replace(
        _FLOW, num_inference_steps=4, guidance_scale=1.0, guidance_stop=1.0, text=TextGuidance(until=0.5, through=LATENT)
    ),
    # transformers of noise prediction: PixArt
    "dit": SamplingConfig(num_inference_steps=20, guidance_scale=4.5, image=ImageGuidance(negligible=1e-3)),
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
