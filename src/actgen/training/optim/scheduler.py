"""How fast the weights move: timm's cosine schedule with a linear warm-up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from timm.scheduler import CosineLRScheduler


def cosine(optimizer: torch.optim.Optimizer, steps: int, peak: float, warmup: float, final: float) -> CosineLRScheduler:
    """Return the schedule of `steps` steps: a warm-up over the fraction `warmup` of them to `peak`, then a cosine to `final`.

    `step_update(position)` sets the rate of the step at a position, 0-based, which may lie between two steps.
    """
    from timm.scheduler import CosineLRScheduler

    ramp = warmup * steps
    return CosineLRScheduler(
        optimizer,
        t_initial=steps - ramp,
        lr_min=final,
        warmup_t=ramp,
        warmup_lr_init=peak / (ramp + 1),
        warmup_prefix=True,
        t_in_epochs=False,
    )
