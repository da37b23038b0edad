"""Flow matching as tables of the same recurrence (`solver.py`, equation 1): x = (1 - sigma) x0 + sigma e, output v = e - x0.

With sigma at this timestep and sigma_p at the next (less noisy) one, lambda = log((1 - sigma)/sigma):

    euler    x moves to x + (sigma_p - sigma) v = (sigma_p/sigma) x + (1 - sigma_p/sigma) x0 (Lipman et al. 2023)
    lcm      noise to the next level on x0: (1 - sigma_p) x0 + sigma_p n (stochastic sampling; Luo et al. 2023, alg. 3)
    dpm++    second-order multistep in data prediction (Lu et al. 2022b, eq. 12 and 13) with alpha = 1 - sigma

Timesteps and noise levels are not made here: they are the pipeline's own (`planning.py`), which knows how they shift with size.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..core.errors import UserError
from .solver import FLOW, Solver
from .solvers import AUTO, SchedulerConfig

EULER, LCM, DPM = "euler", "lcm", "dpm++"
FLOW_NAMES = (EULER, LCM, DPM)
_OF_CLASS = {
    "FlowMatchEulerDiscreteScheduler": EULER,
    "FlowMatchLCMScheduler": LCM,
    "DPMSolverMultistepScheduler": DPM,
    "UniPCMultistepScheduler": DPM,
}
_REFUSED = ("invert_sigmas", "per_token_timesteps", "thresholding")


def is_flow(scheduler: object) -> bool:
    """Whether a diffusers scheduler walks on straight lines from noise to image."""
    config = _config(scheduler)
    told = config.get("use_flow_sigmas") or config.get("prediction_type") == "flow_prediction"
    return bool(told) or type(scheduler).__name__.startswith("FlowMatch")


def flow_name(name: str, scheduler: object) -> str:
    """Return `name`, with "auto" resolved to what the pipeline's scheduler does; `UserError` if neither is of `FLOW_NAMES`."""
    kind, config = type(scheduler).__name__, _config(scheduler)
    if kind not in _OF_CLASS:
        raise UserError(
            f"this generator's {kind} takes steps that are not linear in one prediction each. Allowed are pipelines with "
            f"{', '.join(_OF_CLASS)}."
        )
    for key in _REFUSED:
        if config.get(key):
            raise UserError(f"this generator's scheduler has {key} = true, which is not supported. Take another generator.")
    if name == AUTO:
        return LCM if config.get("stochastic_sampling") else _OF_CLASS[kind]
    if name not in FLOW_NAMES:
        raise UserError(
            f"sampling.scheduler = {name}: this generator was trained with flow matching. Allowed: {AUTO}, "
            f"{', '.join(FLOW_NAMES)}."
        )
    return name


def make_flow_solver(timesteps: Tensor, sigmas: Tensor, scheduler: str) -> Solver:
    """Return the solver over planned `timesteps` [N] and `sigmas` [N + 1], the last of which is 0."""
    now, then = sigmas[:-1].double().cpu(), sigmas[1:].double().cpu()
    nothing = torch.zeros_like(now)
    euler = Solver(
        timesteps=timesteps.cpu(),
        signal=1 - now,
        level=now,
        memory_weight=nothing,
        noise_weight=nothing,
        x_weight=then / now,
        x0_weight=1 - then / now,
        prediction_type=FLOW,
    )
    if scheduler == LCM:
        return replace(euler, x_weight=nothing, x0_weight=1 - then, noise_weight=then)
    return _second_order(euler, now, then) if scheduler == DPM else euler


def _second_order(euler: Solver, now: Tensor, then: Tensor) -> Solver:
    """Return dpm++; of first order where h is infinite: from noise alone, and to the clean latent."""
    step = torch.logit(1 - then) - torch.logit(1 - now)  # h
    decay = torch.expm1(-step)
    second = torch.zeros_like(now)
    second[1:] = (-0.5 * (1 - then) * decay * step / step.roll(1))[1:]
    second[~step.isfinite()] = 0.0
    return replace(euler, x0_weight=-(1 - then) * decay + second, memory_weight=-second)


def _config(scheduler: object) -> SchedulerConfig:
    config: SchedulerConfig = getattr(scheduler, "config", {})
    return config
