"""The way from noise to image as one linear recurrence, for the sample and for its guide alike.

    x_{prev} = a * x0 + b * x_t + s * n,        n ~ N(0, I)                                                       (1)

With abar = prod(1 - beta), p the previous timestep, abar_p = 1 at the end, and DDIM's eta (Song et al. 2021, eq. 12 and 16):

    s^2 = eta^2 (1 - abar_p)/(1 - abar) (1 - abar/abar_p)
    b   = sqrt(1 - abar_p - s^2) / sqrt(1 - abar),    a = sqrt(abar_p) - sqrt(abar) b

eta = 0 is DDIM, eta = 1 is DDPM's posterior q(x_{t-1} | x_t, x0) (Ho et al. 2020, eq. 6 and 7). A guide is a trajectory whose
x0 is known: it walks by (1) with the same n, so no fork of a scheduler is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError

MINIMUM_VARIANCE = 1e-20


@dataclass(frozen=True)
class Walk:
    """`timesteps` [N] from noisy to clean and the coefficients of (1), each [N], float64 on the CPU."""

    timesteps: Tensor
    alpha_bar: Tensor
    x0_weight: Tensor
    x_weight: Tensor
    noise_weight: Tensor
    prediction_type: str
    clip: float | None

    def __len__(self) -> int:
        return len(self.timesteps)

    def x0(self, x: Tensor, output: Tensor, index: int) -> Tensor:
        """Return the predicted clean latent from the UNet's `output` at step `index` (same shape as `x`)."""
        alpha = float(self.alpha_bar[index])
        signal, noise = alpha**0.5, (1.0 - alpha) ** 0.5
        if self.prediction_type == "epsilon":
            output = (x - noise * output) / signal
        elif self.prediction_type == "v_prediction":
            output = signal * x - noise * output
        return output if self.clip is None else output.clamp(-self.clip, self.clip)

    def advance(self, x: Tensor, x0: Tensor, noise: Tensor, index: int) -> Tensor:
        """Return x at the next timestep by (1)."""
        a, b, s = (float(w[index]) for w in (self.x0_weight, self.x_weight, self.noise_weight))
        moved = a * x0 + b * x
        return moved + s * noise if s > 0 else moved


def alphas_cumprod(config: Mapping[str, Any]) -> Tensor:
    """Return abar [T], float64, of a diffusers scheduler configuration."""
    from diffusers import DDPMScheduler

    keys = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr")
    scheduler = DDPMScheduler(**{key: config[key] for key in keys if config.get(key) is not None})
    return torch.as_tensor(scheduler.alphas_cumprod).double()


def make_walk(config: Mapping[str, Any], steps: int, *, eta: float = 1.0, previous: str = "grid") -> Walk:
    """Return the walk of `steps` steps over the noise schedule of a scheduler's `config`.

    `previous` is "grid" (the next timestep of the grid; right for every spacing) or "stride" (always t - T // steps, as the
    released code of ActGen has it; the same for leading spacing). `UserError` if the schedule has no such steps.
    """
    abar = alphas_cumprod(config)
    total = len(abar)
    timesteps = _timesteps(total, steps, str(config.get("timestep_spacing") or "leading"), int(config.get("steps_offset") or 0))
    following = torch.cat([timesteps[1:], torch.tensor([-1])]) if previous == "grid" else timesteps - total // steps
    now = abar[timesteps]
    then = torch.where(following >= 0, abar[following.clamp(min=0)], torch.ones((), dtype=torch.float64))
    variance = eta**2 * (1 - then) / (1 - now) * (1 - now / then)
    if eta > 0:
        variance = variance.clamp(min=MINIMUM_VARIANCE)
    x_weight = (1 - then - variance).clamp(min=0).sqrt() / (1 - now).sqrt()
    large = eta > 0 and config.get("variance_type") == "fixed_large"
    return Walk(
        timesteps=timesteps,
        alpha_bar=now,
        x0_weight=then.sqrt() - now.sqrt() * x_weight,
        x_weight=x_weight,
        noise_weight=(1 - now / then).sqrt() if large else variance.sqrt(),
        prediction_type=str(config.get("prediction_type") or "epsilon"),
        clip=float(config.get("clip_sample_range") or 1.0) if config.get("clip_sample") else None,
    )


def _timesteps(total: int, steps: int, spacing: str, offset: int) -> Tensor:
    """Return `steps` timesteps, descending, by the spacings of Lin et al. 2024 (table 2)."""
    if not 1 <= steps <= total:
        raise UserError(f"drawing.num_inference_steps = {steps}: allowed is 1 to {total}, the timesteps of this generator.")
    if spacing == "leading":
        if (first := (steps - 1) * (total // steps) + offset) >= total:
            raise UserError(f"drawing.num_inference_steps = {steps}: with leading spacing and steps_offset {offset} it starts "
                            f"at timestep {first}, but this generator ends at {total - 1}. Take fewer steps.")  # fmt: skip
        return torch.arange(steps - 1, -1, -1) * (total // steps) + offset
    if spacing == "trailing":
        return torch.arange(total, 0, -total / steps, dtype=torch.float64).round().long()[:steps] - 1
    return torch.linspace(total - 1, 0, steps, dtype=torch.float64).round().long()
