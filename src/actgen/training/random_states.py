"""Torch's global random states, for what a model draws itself (dropout, drop path): read and set in the middle of an epoch."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def get_random(device: torch.device) -> dict[str, Tensor]:
    """Return the states of the CPU and, if it is a GPU, of the device."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_random(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Set the states that are given."""
    if "cpu" in states:
        torch.set_rng_state(states["cpu"])
    if "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
