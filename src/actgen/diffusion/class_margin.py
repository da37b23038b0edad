"""The class margin of a diffusion classifier: with which of two prompts the generator denoises a picture better.

A conditional diffusion model is a classifier: of two prompts the one with the smaller denoising error has the larger likelihood
(Li et al. 2023, "Your Diffusion Model is Secretly a Zero-Shot Classifier", eq. 6 and 7). Deviations: the errors are compared as
(rival - own)/(rival + own) at each noise level, which lies in [-1, 1] and means the same whatever the network predicts and
however large the errors of that level are; the levels are few and evenly spaced in the logarithm of signal to noise; and both
prompts see the same noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.rng import generator
from .pipeline import Conditions, PipelineAdapter
from .solver import FLOW
from .solvers import AUTO, alphas_cumprod

NOISIEST, CLEAREST = -5.0, 0.0  # log(signal^2/level^2): where a class shows, between pure noise and mere texture
PLANNED = 200  # steps of a flow schedule, among which the levels are found


def measure_class_margin(
    adapter: PipelineAdapter, latents_BCHW: Tensor, own: Sequence[str], rival: Sequence[str], seeds: Sequence[int], levels: int
) -> Tensor:
    """Return [B] in [-1, 1]: how much better the prompts `own` denoise the clean latents than `rival`, over `levels` noises.

    Above 0 the generator would sooner have generated the picture for `own`. A picture's noise is a function of its seed alone.
    """
    streams = [generator(seed, "belief") for seed in seeds]
    shape = latents_BCHW.shape[1:]
    conditioning = (adapter.encode_text(own), adapter.encode_text(rival))
    clean = latents_BCHW.to(adapter.device)
    total = torch.zeros(len(clean), device=clean.device)
    with torch.no_grad(), adapter.borrowed():
        for at in noise_levels(adapter, levels):
            noise = torch.stack([torch.randn(shape, generator=stream) for stream in streams]).to(clean)
            mine, other = (_errors(adapter, clean, noise, at, one) for one in conditioning)
            total += (other - mine) / (other + mine).clamp(min=1e-12)
    return (total / levels).cpu()


@dataclass(frozen=True)
class NoiseLevel:
    """A timestep, as the network is told it, and how much of the clean latent and of unit noise is there."""

    timestep: Tensor
    signal: float
    level: float


def noise_levels(adapter: PipelineAdapter, levels: int) -> list[NoiseLevel]:
    """Return `levels` noise levels of a generator's own schedule, evenly in log signal to noise, the noisiest first."""
    if not adapter.is_flow:
        abar = alphas_cumprod(adapter.pipeline.scheduler.config)
        steps = level_timesteps(abar, levels)
        return [NoiseLevel(torch.tensor(t), float(abar[t]) ** 0.5, (1.0 - float(abar[t])) ** 0.5) for t in steps]
    solver = adapter.solver(PLANNED, scheduler=AUTO)
    ratio = 2 * (solver.signal / solver.level).log()
    nearest = [int((ratio - one).abs().argmin()) for one in _wanted(levels)]
    return [NoiseLevel(solver.timesteps[at], float(solver.signal[at]), float(solver.level[at])) for at in nearest]


def level_timesteps(abar: Tensor, levels: int) -> list[int]:
    """Return the timesteps of `levels` noise levels, evenly in log signal to noise, the noisiest first."""
    ratio = (abar / (1 - abar)).log()
    return [int((ratio - one).abs().argmin()) for one in _wanted(levels)]


def _wanted(levels: int) -> Tensor:
    return torch.linspace(NOISIEST, CLEAREST, levels, dtype=torch.float64)


def _errors(adapter: PipelineAdapter, clean: Tensor, noise: Tensor, at: NoiseLevel, conditioning: Conditions) -> Tensor:
    """Return the mean squared error [B] of what the network predicts for noised latents."""
    kind = FLOW if adapter.is_flow else str(adapter.pipeline.scheduler.config.get("prediction_type") or "epsilon")
    targets = {FLOW: noise - clean, "epsilon": noise, "v_prediction": at.signal * noise - at.level * clean}
    x = at.signal * clean + at.level * noise
    predicted = adapter.predict(x, at.timestep.to(x.device), conditioning, 1.0, plain=True)
    errors: Tensor = (predicted - targets.get(kind, clean)).square().flatten(1).mean(dim=1)
    return errors
