"""Several processes of a loop of one's own: the first one generates, and the others wait for its word."""

from __future__ import annotations

import os
from datetime import timedelta
from functools import cache
from typing import Any

import torch
from torch import distributed

_PATIENCE = timedelta(days=30)  # that the others wait for the first process: a round may take long
_RANKS = ("RANK", "LOCAL_RANK", "GROUP_RANK", "NODE_RANK", "SLURM_PROCID")


def generates_here() -> bool:
    """Whether this is the process that generates: the first one, or the only one."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank() == 0
    return all(os.environ.get(name, "0") == "0" for name in _RANKS)


def are_several() -> bool:
    """Whether there is a group of more than one process."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def from_first(now: tuple[int, int]) -> tuple[int, int]:
    """Return the first process's two numbers in every process; the others wait for them, as long as it takes."""
    if not are_several():
        return now
    told = torch.tensor(now)
    distributed.broadcast(told, src=0, group=_waiting())
    epoch, generated = told.tolist()
    return epoch, generated


@cache
def _waiting() -> Any:
    """The processes as a group of their own that waits longer than the usual minutes, and on the CPU."""
    return distributed.new_group(backend="gloo", timeout=_PATIENCE)
