"""A noise level as a step of Stable Diffusion's schedule, on which the fading of the image guide was made (ActGen).

The reference is that of the released code: 40 steps, scaled-linear betas from 0.00085 to 0.012, timesteps 976 - 25 k. By noise
over signal, sqrt((1 - abar)/abar), a step means the same on every noise schedule; k = 12.5 is at 2.89.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from functools import cache

from ..solvers import alphas_cumprod

STABLE_DIFFUSION = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}
STEPS, FIRST, STRIDE = 40, 976, 25


def reference_position(alpha_bar: float) -> float:
    """Return the place in [0, 39] on the reference, between steps too, with the noise over signal that `alpha_bar` has.

    Linear in log(noise/signal) between two steps; what is noisier than its first step, or cleaner than its last, is there.
    """
    falling = _reference()
    level = _log_level(alpha_bar)
    after = bisect_left(falling, -level, key=lambda one: -one)  # the first that is as clean or cleaner
    if after in (0, STEPS):
        return float(min(after, STEPS - 1))
    before = falling[after - 1]
    return after - 1 + (before - level) / (before - falling[after])


@cache
def _reference() -> list[float]:
    alpha_bar = alphas_cumprod(STABLE_DIFFUSION)
    return [_log_level(float(alpha_bar[FIRST - STRIDE * k])) for k in range(STEPS)]


def _log_level(alpha_bar: float) -> float:
    """log(noise/signal); noise alone is infinite, a clean latent minus infinite."""
    if not 0 < alpha_bar < 1:
        return math.inf if alpha_bar <= 0 else -math.inf
    return 0.5 * (math.log1p(-alpha_bar) - math.log(alpha_bar))
