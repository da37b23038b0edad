"""A guide from outside: darkens or brightens the last latents by a constant."""

from __future__ import annotations

from actgen.diffusion.denoising import BoundGuide, Step
from actgen.diffusion.guides.guide import Guide, GuideContext


class BoundShift(BoundGuide):
    """Adds `by` to the latents of every step."""

    def __init__(self, by: float) -> None:
        self.by = by

    def apply(self, step: Step) -> Step:
        return step.with_next_latents(step.next_latents + self.by)


class Shift(Guide):
    """Looks at nothing but the latents; `bound` counts the batches that it took part in."""

    name = "shift"
    needs = frozenset[str]()
    bound = 0

    def bind(self, context: GuideContext) -> BoundShift:
        self.bound += 1
        return BoundShift(0.1)
