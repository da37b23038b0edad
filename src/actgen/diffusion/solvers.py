"""The schedulers that people use, each as the table of coefficients of one recurrence (`solver.py`, equation 1).

With abar at this timestep, abar_p at the next (less noisy) one, sigma = sqrt((1 - abar)/abar):

    ddim, ddpm       s^2 = eta^2 (1 - abar_p)/(1 - abar) (1 - abar/abar_p), b = sqrt(1 - abar_p - s^2)/sqrt(1 - abar),
                     a = sqrt(abar_p) - sqrt(abar) b (Song et al. 2021, eq. 12 and 16); eta = 1 is DDPM's posterior
                     (Ho et al. 2020, eq. 6 and 7)
    euler            x/sqrt(abar) moves to (sigma_p/sigma) x/sqrt(abar) + (1 - sigma_p/sigma) x0 (Karras et al. 2022, alg. 1);
                     ancestral: to sigma_down instead, and noise of sigma_up is added
    dpm++            second-order multistep in data prediction, midpoint (Lu et al. 2022b, eq. 12 and 13)
    lcm              noise to the next level on c_out x0 + c_skip x (Luo et al. 2023, eq. 9 and alg. 3)

Timesteps and noise levels are those of diffusers' scheduler of that name, made from the pipeline's own configuration.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Protocol, TypedDict

import torch
from torch import Tensor

from ..core.errors import UserError
from .solver import Solver

AUTO = "auto"
NAMES = ("ddpm", "ddim", "euler", "euler-ancestral", "dpm++", "lcm")
MINIMUM_VARIANCE = 1e-20
_OF_CLASS = {
    "DDPMScheduler": "ddpm",
    "DDIMScheduler": "ddim",
    "PNDMScheduler": "ddim",
    "EulerDiscreteScheduler": "euler",
    "EulerAncestralDiscreteScheduler": "euler-ancestral",
    "DPMSolverMultistepScheduler": "dpm++",
    "LCMScheduler": "lcm",
}

SchedulerConfig = Mapping[str, Any]  # of diffusers: JSON, whose values their schedulers check


class _Common(TypedDict):
    prediction_type: str
    clip: float | None


class _Shared(_Common):
    timesteps: Tensor
    signal: Tensor
    level: Tensor


class _Grid(Protocol):
    """A scheduler of diffusers with its timesteps set; those of LCM have no sigmas."""

    timesteps: Tensor
    sigmas: Tensor
    init_noise_sigma: float

    def set_timesteps(self, count: int) -> None: ...


def scheduler_name(name: str, pipeline_scheduler: object) -> str:
    """Return `name`, with "auto" resolved to the pipeline's own scheduler; `UserError` if that is none of `NAMES`."""
    if name != AUTO:
        return name
    kind = type(pipeline_scheduler).__name__
    if kind not in _OF_CLASS:
        raise UserError(f"sampling.scheduler = auto: this generator's {kind} is not one of ours. Allowed: {', '.join(NAMES)}.")
    return _OF_CLASS[kind]


def make_solver(
    config: SchedulerConfig, steps: int, *, scheduler: str = "ddpm", eta: float = 0.0, previous: str = "grid"
) -> Solver:
    """Return the solver of `steps` steps of a named scheduler over the noise schedule of a pipeline's scheduler `config`.

    `eta` is DDIM's. `previous` (ddim and ddpm): "grid" goes to the next timestep of the grid, right for every spacing;
    "stride" always to t - T // steps, as diffusers and the released code of ActGen have it; the same for leading spacing.
    `UserError` if the schedule has no such steps.
    """
    if config.get("thresholding"):
        raise UserError(
            "this generator's scheduler uses dynamic thresholding, which is for pixels. Set thresholding to false "
            "in its scheduler_config.json."
        )
    if scheduler in ("ddim", "ddpm"):
        return _implicit(config, steps, scheduler, 1.0 if scheduler == "ddpm" else eta, previous)
    total = int(config.get("num_train_timesteps") or 1000)
    most = int(config.get("original_inference_steps") or 50) if scheduler == "lcm" else total
    if not 1 <= steps <= most:
        raise UserError(f"sampling.num_inference_steps = {steps}: allowed is 1 to {most} with {scheduler} on this generator.")
    return _lcm(config, steps) if scheduler == "lcm" else _by_sigmas(config, steps, scheduler)


def alphas_cumprod(config: SchedulerConfig) -> Tensor:
    """Return abar [T], float64, of a diffusers scheduler configuration."""
    from diffusers import DDPMScheduler

    keys = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr")
    scheduler = DDPMScheduler(**{key: config[key] for key in keys if config.get(key) is not None})
    return torch.as_tensor(scheduler.alphas_cumprod).double()


def _signal(abar: Tensor) -> Tensor:
    """sqrt(abar), each rounded as Python does."""
    return torch.tensor([float(one) ** 0.5 for one in abar], dtype=abar.dtype)


def _level(abar: Tensor) -> Tensor:
    """sqrt(1 - abar), each rounded as Python does."""
    return torch.tensor([(1.0 - float(one)) ** 0.5 for one in abar], dtype=abar.dtype)


def _common(config: SchedulerConfig) -> _Common:
    clip = float(config.get("clip_sample_range") or 1.0) if config.get("clip_sample") else None
    return {"prediction_type": str(config.get("prediction_type") or "epsilon"), "clip": clip}


def _implicit(config: SchedulerConfig, steps: int, scheduler: str, eta: float, previous: str) -> Solver:
    abar = alphas_cumprod(config)
    total = len(abar)
    defaulted = config.get("_use_default_values") or ()  # of another class of schedulers
    spacing = "leading" if "timestep_spacing" in defaulted else str(config.get("timestep_spacing") or "leading")
    timesteps = _timesteps(total, steps, spacing, int(config.get("steps_offset") or 0))
    following = torch.cat([timesteps[1:], torch.tensor([-1])]) if previous == "grid" else timesteps - total // steps
    end = abar[0] if scheduler == "ddim" and config.get("set_alpha_to_one") is False else torch.ones((), dtype=torch.float64)
    now, then = abar[timesteps], torch.where(following >= 0, abar[following.clamp(min=0)], end)
    variance = eta**2 * (1 - then) / (1 - now) * (1 - now / then)
    if eta > 0:
        variance = variance.clamp(min=MINIMUM_VARIANCE)
    x_weight = (1 - then - variance).clamp(min=0).sqrt() / (1 - now).sqrt()
    large = scheduler == "ddpm" and config.get("variance_type") == "fixed_large"
    return Solver(
        timesteps=timesteps,
        signal=_signal(now),
        level=_level(now),
        memory_weight=torch.zeros_like(now),
        x0_weight=then.sqrt() - now.sqrt() * x_weight,
        x_weight=x_weight,
        noise_weight=(1 - now / then).sqrt() if large else variance.sqrt(),
        **_common(config),
    )


def _by_sigmas(config: SchedulerConfig, steps: int, scheduler: str) -> Solver:
    grid = _grid(config, steps, scheduler)
    sigmas = torch.as_tensor(grid.sigmas).double().cpu()
    now, then = sigmas[:-1], sigmas[1:]
    scale, next_scale = (1 + now**2).sqrt(), (1 + then**2).sqrt()  # from these coordinates to the scheduler's own
    abar, timesteps = 1 / scale**2, torch.as_tensor(grid.timesteps).cpu()
    shared: _Shared = {"timesteps": timesteps, "signal": _signal(abar), "level": _level(abar), **_common(config), "clip": None}
    if scheduler == "dpm++":
        return _dpm(now, then, steps, shared)
    up = torch.zeros_like(now)
    if scheduler == "euler-ancestral":
        up = (then**2 * (now**2 - then**2) / now**2).sqrt()
    ratio = (then**2 - up**2).clamp(min=0).sqrt() / now
    return Solver(
        memory_weight=torch.zeros_like(now),
        x0_weight=(1 - ratio) / next_scale,
        x_weight=ratio * scale / next_scale,
        noise_weight=up / next_scale,
        start=float(grid.init_noise_sigma) / float(scale[0]),
        **shared,
    )


def _dpm(now: Tensor, then: Tensor, steps: int, shared: _Shared) -> Solver:
    alpha, alpha_then = (1 + now**2).rsqrt(), (1 + then**2).rsqrt()
    decay = torch.expm1(-(now.log() - then.log()))  # exp(-h) - 1; -1 where the last sigma is 0
    step = now.log() - then.log()
    ratio = torch.cat([torch.ones(1, dtype=now.dtype), step[:-1]]) / step  # r0 = h_last / h
    second = torch.zeros_like(now)
    second[1:] = (-0.5 * alpha_then * decay / ratio)[1:]
    second[-1] = 0.0  # the last step is of first order, since its sigma is 0
    return Solver(
        x0_weight=-alpha_then * decay + second,
        x_weight=(then * alpha_then) / (now * alpha),
        noise_weight=torch.zeros_like(now),
        memory_weight=-second,
        **shared,
    )


def _lcm(config: SchedulerConfig, steps: int) -> Solver:
    abar = alphas_cumprod(config)
    timesteps = _grid(config, steps, "lcm").timesteps.cpu()
    then = torch.cat([abar[timesteps[1:]], torch.ones(1, dtype=torch.float64)])
    scaled = timesteps.double() * float(config.get("timestep_scaling") or 10.0)
    skip, out = 0.25 / (scaled**2 + 0.25), scaled / (scaled**2 + 0.25).sqrt()
    return Solver(
        timesteps=timesteps,
        signal=_signal(abar[timesteps]),
        level=_level(abar[timesteps]),
        memory_weight=torch.zeros_like(then),
        x0_weight=then.sqrt() * out,
        x_weight=then.sqrt() * skip,
        noise_weight=(1 - then).sqrt(),
        **_common(config),
    )


def _grid(config: SchedulerConfig, steps: int, scheduler: str) -> _Grid:
    """Return diffusers' scheduler of that name with its timesteps (and sigmas) set."""
    import diffusers

    kinds = {
        "euler": "EulerDiscreteScheduler",
        "euler-ancestral": "EulerAncestralDiscreteScheduler",
        "dpm++": "DPMSolverMultistepScheduler",
        "lcm": "LCMScheduler",
    }
    kind: Any = getattr(diffusers, kinds[scheduler])
    solver = {"algorithm_type": "dpmsolver++", "solver_order": 2, "solver_type": "midpoint", "final_sigmas_type": "zero"}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # diffusers hands tensors to NumPy 2
            made: _Grid = kind.from_config(dict(config), **(solver if scheduler == "dpm++" else {}))
            made.set_timesteps(steps)
    except ValueError as error:
        first = str(error).strip().splitlines()[0]
        raise UserError(f"sampling.num_inference_steps = {steps} with {scheduler}: {first} Take another number.") from error
    return made


def _timesteps(total: int, steps: int, spacing: str, offset: int) -> Tensor:
    """Return `steps` timesteps, descending, by the spacings of Lin et al. 2024 (table 2)."""
    if not 1 <= steps <= total:
        raise UserError(f"sampling.num_inference_steps = {steps}: allowed is 1 to {total}, the timesteps of this generator.")
    if spacing == "leading":
        if (first := (steps - 1) * (total // steps) + offset) >= total:
            raise UserError(
                f"sampling.num_inference_steps = {steps}: with leading spacing and steps_offset {offset} it starts "
                f"at timestep {first}, but this generator ends at {total - 1}. Take fewer steps."
            )
        return torch.arange(steps - 1, -1, -1) * (total // steps) + offset
    if spacing == "trailing":
        return torch.arange(total, 0, -total / steps, dtype=torch.float64).round().long()[:steps] - 1
    return torch.linspace(total - 1, 0, steps, dtype=torch.float64).round().long()
