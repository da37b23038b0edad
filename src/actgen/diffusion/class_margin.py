"""The class margin of a diffusion classifier: with which of two prompts the generator denoises a picture better.

A conditional diffusion model is a classifier: of two prompts the one with the smaller denoising error has the larger likelihood
(Li et al. 2023, "Your Diffusion Model is Secretly a Zero-Shot Classifier", eq. 6 and 7). Deviations: the errors are compared as
(rival - own)/(rival + own) at each noise level, which lies in [-1, 1] and means the same whatever the network predicts and
however large the errors of that level are; the levels are few and evenly spaced in the logarithm of signal to noise; and both
prompts see the same noise.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..core.rng import generator
from .pipeline import Conditions, PipelineAdapter
from .solvers import alphas_cumprod

NOISIEST, CLEAREST = -5.0, 0.0  # log(abar/(1 - abar)): where a class shows, between pure noise and mere texture


def measure_class_margin(
    adapter: PipelineAdapter, latents_BCHW: Tensor, own: Sequence[str], rival: Sequence[str], seeds: Sequence[int], levels: int
) -> Tensor:
    """Return [B] in [-1, 1]: how much better the prompts `own` denoise the clean latents than `rival`, over `levels` noises.

    Above 0 the generator would sooner have generated the picture for `own`. A picture's noise is a function of its seed alone.
    """
    streams = [generator(seed, "belief") for seed in seeds]
    shape = latents_BCHW.shape[1:]
    conditioning = (adapter.encode_text(own), adapter.encode_text(rival))
    abar = alphas_cumprod(adapter.pipeline.scheduler.config)
    clean = latents_BCHW.to(adapter.device)
    total = torch.zeros(len(clean), device=clean.device)
    with torch.no_grad(), adapter.borrowed():
        for timestep in level_timesteps(abar, levels):
            noise = torch.stack([torch.randn(shape, generator=stream) for stream in streams]).to(clean)
            mine, other = (_errors(adapter, clean, noise, timestep, float(abar[timestep]), one) for one in conditioning)
            total += (other - mine) / (other + mine).clamp(min=1e-12)
    return (total / levels).cpu()


def level_timesteps(abar: Tensor, levels: int) -> list[int]:
    """Return the timesteps of `levels` noise levels, evenly in log signal to noise, the noisiest first."""
    ratio = (abar / (1 - abar)).log()
    wanted = torch.linspace(NOISIEST, CLEAREST, levels, dtype=torch.float64)
    return [int((ratio - one).abs().argmin()) for one in wanted]


def _errors(
    adapter: PipelineAdapter, clean: Tensor, noise: Tensor, timestep: int, abar: float, conditioning: Conditions
) -> Tensor:
    """Return the mean squared error [B] of what the network predicts for noised latents."""
    signal, level = abar**0.5, (1.0 - abar) ** 0.5
    kind = str(adapter.pipeline.scheduler.config.get("prediction_type") or "epsilon")
    target = {"epsilon": noise, "v_prediction": signal * noise - level * clean}.get(kind, clean)
    x = signal * clean + level * noise
    predicted = adapter.predict(x, torch.tensor(timestep, device=x.device), conditioning, 1.0, plain=True)
    errors: Tensor = (predicted - target).square().flatten(1).mean(dim=1)
    return errors
