"""The stock pipelines of diffusers, and what equals their pictures."""

from __future__ import annotations

import torch
from torch import Tensor

STOCK = {
    "ddpm": "DDPMScheduler",
    "ddim": "DDIMScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler-ancestral": "EulerAncestralDiscreteScheduler",
    "dpm++": "DPMSolverMultistepScheduler",
    "lcm": "LCMScheduler",
}


PROMPTS = ["a photo of coat", "a photo of ankle boot"]


def close(one: Tensor, other: Tensor, tolerance: float = 1e-5) -> None:
    """Within `tolerance` of the largest entry, at least 1: untrained networks give latents far above unit size."""
    torch.testing.assert_close(one, other, rtol=0, atol=tolerance * max(1.0, float(other.abs().max())))
