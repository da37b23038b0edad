"""Attentive image guidance: pull the attended region towards the noised guide image (ActGen, eq. for x~_{t-1}).

    x~_{t-1} = x_{t-1} + m_t gamma_t (x^(g)_{t-1} - x_{t-1})                                                    (1)

The guide's trajectory x^(g) advances with the sample's step noise towards its known clean latent g (`diffusion/solver.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from ...core.class_words import class_words
from ...core.errors import UserError
from ...core.options import Choices, options
from ..denoising import BoundGuide, Step
from ..pipeline import PipelineAdapter
from ..solver import Solver
from .guide import ATTENTION, MASKS, SOURCE, Guide, GuideContext, GuideSettings
from .position import reference_position

SHAPES = ("unit", "cumulative", "none", "given")
GIVEN = "given"
KEEP = ("object", "scene")
ATTENDED = ("unit", "cumulative")  # masks that are read from attention
AUTO, SHARED, OWN = "auto", "shared", "own"
NOISES = (AUTO, SHARED, OWN)
STEPS, NOISE = "steps", "noise"
POSITIONS = (STEPS, NOISE)


@options("sampling.image")
class ImageGuidance:
    """Hyper-parameters of (1).

    gamma falls as sigmoid(offset - position). `position` "steps" counts steps of a schedule of `reference_steps`, so that
    another number of steps means the same; `reference_steps = 0` counts the real steps, as the released code does. "noise" is
    the step of Stable Diffusion's schedule of 40 steps that has as much noise beside its signal, so that another noise
    schedule means the same, too (`guides/position.py`).

    Without step noise, mixing two independent noises by a weight w leaves noise of standard deviation sqrt((1 - w)^2 + w^2)
    where the network expects 1; step noise, which both share, makes them meet. `noise` "auto" shares where the solver adds no
    noise.

    `mask` "unit" is the running mean of the class words' attention, scaled to [0, 1] per image; "cumulative" is the released
    code's 1 + sum over the steps; "none" guides the whole image. "given" is that of the recipe's `masks`, at full `strength` to
    the last step, and what is under it is the guide image's to the pixel (`generation/given_masks.py`).
    """

    strength: Annotated[float, Field(ge=0, le=1, description="The largest gamma; 0: no guide.")] = 1.0
    offset: Annotated[
        float, Field(ge=-1e9, le=1e9, description="Where gamma has fallen to half; 1e9 keeps it at `strength`.")
    ] = 12.5
    reference_steps: Annotated[
        int, Field(ge=0, le=10**6, description="Steps of the schedule that `offset` counts in; 0: the real steps.")
    ] = 40
    mask: Annotated[str, Choices(SHAPES), Field(description="Where in the image the guide pulls.")] = "unit"
    keep: Annotated[
        str, Choices(KEEP), Field(description="Of mask = given: what is under it, the object or the scene around it.")
    ] = "object"
    softness: Annotated[float, Field(gt=0, le=1e3, description="Of the unit mask: 1 is linear, smaller spreads it.")] = 1.0
    both_branches: Annotated[bool, Field(description="Read the attention of both branches, as the released code does.")] = False
    token: Annotated[
        int, Field(ge=-1, le=1000, description="Position of the class word in the prompt; -1: find all of its tokens.")
    ] = -1
    negligible: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="Below this gamma the pull is left out and attention not recorded; 1e-5 is under float32's noise.",
        ),
    ] = 1e-5
    mask_stop: Annotated[
        float, Field(ge=0, le=1, description="From this fraction of the schedule on the mask stands still.")
    ] = 1.0
    noise: Annotated[
        str, Choices(NOISES), Field(description="What the guide's trajectory starts from: the sample's noise, or its own.")
    ] = AUTO
    position: Annotated[str, Choices(POSITIONS), Field(description="What gamma falls with.")] = STEPS

    @property
    def attends(self) -> bool:
        """Whether the mask is read from attention."""
        return self.mask in ATTENDED

    def gamma(self, index: int, solver: Solver) -> float:
        """Return the strength of the pull at step `index` of the schedule."""
        if self.mask == GIVEN:
            return self.strength
        place = self._place(index, solver)
        return self.strength * float(torch.sigmoid(torch.tensor(self.offset - place, dtype=torch.float64)))

    def shares_noise(self, solver: Solver) -> bool:
        """Whether the guide's trajectory starts from the sample's noise with this solver."""
        return not solver.uses_noise() if self.noise == AUTO else self.noise == SHARED

    def _place(self, index: int, solver: Solver) -> float:
        if self.position == NOISE:
            signal, level = float(solver.signal[index]), float(solver.level[index])
            return reference_position(signal**2 / (signal**2 + level**2))
        return index * self.reference_steps / len(solver) if self.reference_steps else float(index)


class BoundImage(BoundGuide):
    """`ImageGuidance` for the images of one batch: the mask, and the guide's trajectory, from `noise_BCHW` at step `first`."""

    def __init__(
        self,
        options: ImageGuidance,
        solver: Solver,
        guide_BCHW: Tensor,
        noise_BCHW: Tensor,
        tokens: Sequence[Sequence[int]],
        first: int = 0,
        given_B1HW: Tensor | None = None,
    ) -> None:
        self.options, self.solver, self.guide = options, solver, guide_BCHW
        self.trajectory = solver.enter(noise_BCHW, guide_BCHW if first else None, first)
        self.words = [list(positions) if options.token < 0 else [options.token] for positions in tokens]
        self.attention_sum: Tensor | None = None
        self.mask = given_B1HW

    def _gamma(self, index: int) -> float:
        return self.options.gamma(index, self.solver)

    def reads_attention(self, index: int) -> bool:
        """While the pull matters and is masked."""
        moves = self.mask is None or index < self.options.mask_stop * len(self.solver)
        return self.options.attends and moves and self._gamma(index) > self.options.negligible

    def apply(self, step: Step) -> Step:
        """Advance the guide by its own step and pull the proposed latents towards it by (1)."""
        last_step = step.index + 1 == len(self.solver)  # some schedulers stop a little before abar = 1; the guide is known
        moved = self.solver.advance(self.trajectory, self.guide, step.noise, step.index, self.guide)
        self.trajectory = self.guide if last_step else moved
        gamma = self._gamma(step.index)
        if gamma <= self.options.negligible:
            return step
        weight = gamma * self._update_mask(step)
        return step.with_next_latents(step.next_latents - weight * (step.next_latents - self.trajectory))

    def _update_mask(self, step: Step) -> Tensor | float:
        if not self.options.attends or step.attention is None:
            return 1.0 if self.mask is None else self.mask
        attention = step.attention.mean(dim=0) if self.options.both_branches else step.attention[-1]
        self.attention_sum = attention if self.attention_sum is None else self.attention_sum + attention
        total = self.attention_sum.unsqueeze(1)
        size = step.latents.shape[-2:]
        if self.options.mask == "cumulative":
            self.mask = F.interpolate(1.0 + total, size, mode="bilinear")
        else:
            self.mask = unit_range(F.interpolate(total, size, mode="bilinear")) ** self.options.softness
        return self.mask


def unit_range(maps_B1HW: Tensor) -> Tensor:
    """Scale every map to [0, 1]; a flat map becomes all ones (the whole image is guided)."""
    low, high = maps_B1HW.amin(dim=(2, 3), keepdim=True), maps_B1HW.amax(dim=(2, 3), keepdim=True)
    span = high - low
    return torch.where(span > 1e-8, (maps_B1HW - low) / span.clamp(min=1e-8), torch.ones_like(maps_B1HW))


class ImageGuide(Guide):
    """`ImageGuidance` as a guide: towards the source image where its mask says."""

    name = "image"
    needs = frozenset({SOURCE, ATTENTION, MASKS})

    def needed(self, settings: GuideSettings) -> frozenset[str]:
        """The source image, and what its mask is read from."""
        options = settings.of(ImageGuidance)
        return frozenset({SOURCE, *((ATTENTION,) if options.attends else ()), *((MASKS,) if options.mask == GIVEN else ())})

    def check(self, settings: GuideSettings, adapter: PipelineAdapter, prompts: Sequence[tuple[str, str]]) -> None:
        """Raise `UserError` if the mask's maps or the tokens of the class words are not to be found."""
        options = settings.of(ImageGuidance)
        if not options.attends:
            return
        adapter.map_resolution(settings.attention_resolution)
        if options.token >= (length := adapter.text_length):
            raise UserError(
                f"sampling.image.token = {options.token}: this generator reads {length} tokens, so allowed is "
                f"0 to {length - 1}, or -1 to find the class words."
            )
        for prompt, words in prompts:
            adapter.token_positions(prompt, words)

    def bind(self, context: GuideContext) -> BoundImage | None:
        """Return (1) for the images of one batch."""
        return _bound(context, context.settings.of(ImageGuidance))


class WholeImageGuide(Guide):
    """Towards the whole source image: `ImageGuidance` without a mask."""

    name = "whole-image"
    needs = frozenset({SOURCE})

    def bind(self, context: GuideContext) -> BoundImage | None:
        """Return (1) with M = 1; None where the guide "image" acts, too."""
        if ImageGuide.name in context.guides:
            return None
        return _bound(context, replace(context.settings.of(ImageGuidance), mask="none"))


def _bound(context: GuideContext, options: ImageGuidance) -> BoundImage:
    assert context.source is not None, "a guide that needs the source image is bound with it"
    clean, noises, held = context.source, context.noises, context.held
    tokens = (
        [[]] * len(context.requests)
        if held is not None or not options.attends
        else [context.adapter.token_positions(one.prompt, class_words(one.class_name)) for one in context.requests]
    )
    noise = noises.sample if options.shares_noise(context.solver) else noises.guide
    return BoundImage(options, context.solver, clean, noise.to(clean), tokens, context.first, held)
