"""Entropy guidance: pull the predicted clean image to where the learner is unsure (Deliberate Practice, arXiv 2502.15588).

    x0' = x0 + w level g,            g = d H(p(y | D(x0))) / d x0, of root mean square 1 an image                        (1)

H is the entropy of the classifier's prediction on the decoded image. They go through the denoiser too and weigh by its score;
here the gradient stops at x0 and has unit size, so the cost is one decoder graph and w means the same for every classifier.
x_{t-1} follows from x0' by the solver, which is linear in x0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from ...core.options import options
from ..denoising import BoundGuide, Step
from ..solver import Solver
from .guide import CLASSIFIER, Guide, GuideContext, GuideSettings


@options("sampling.entropy")
class EntropyGuidance:
    """Hyper-parameters of (1)."""

    scale: Annotated[float, Field(ge=0, le=100, description="w of (1); 0: off.")] = 0.1
    until: Annotated[float, Field(ge=0, le=1, description="Act in this first fraction of the schedule.")] = 1.0


class BoundEntropy(BoundGuide):
    """`EntropyGuidance` for the images of one batch; `view`: clean latents -> logits [B, K], `together` images in one graph."""

    def __init__(self, options: EntropyGuidance, solver: Solver, view: Callable[[Tensor], Tensor], together: int = 64) -> None:
        self.options, self.solver, self.view, self.together = options, solver, view, together

    def apply(self, step: Step) -> Step:
        """Move x0 by (1), and with it what enters the next step."""
        if step.index >= self.options.until * len(self.solver) or not self.options.scale:
            return step
        moved, noisy = step.x0.detach(), float(self.solver.level[step.index])
        direction = torch.cat([self._direction(some) for some in moved.split(self.together)])
        weight = float(self.solver.x0_weight[step.index]) * self.options.scale * noisy
        return step.with_next_latents(step.next_latents + weight * direction)

    def _direction(self, x0: Tensor) -> Tensor:
        """Return the gradient of the entropy with root mean square 1 an image; zeros where it has none."""
        leaf = x0.clone().requires_grad_()
        with torch.enable_grad():
            entropy = torch.special.entr(self.view(leaf).softmax(dim=1)).sum(dim=1)
            (gradient,) = torch.autograd.grad(entropy.sum(), leaf)
        gradient = torch.nan_to_num(gradient, posinf=0.0, neginf=0.0)
        size = gradient.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
        return gradient / size.clamp(min=1e-12)


class EntropyGuide(Guide):
    """`EntropyGuidance` as a guide."""

    name = "entropy"
    needs = frozenset({CLASSIFIER})

    def acts(self, settings: GuideSettings) -> bool:
        """Unless it is switched off."""
        options = settings.of(EntropyGuidance)
        return options.scale > 0 and options.until > 0

    def bind(self, context: GuideContext) -> BoundEntropy:
        """Return (1) for the images of one batch."""
        return BoundEntropy(context.settings.of(EntropyGuidance), context.solver, context.logits, context.together)
