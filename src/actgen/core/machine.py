"""What a run was computed on, without the machine's name: seconds mean little without it."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

_CPUS = Path("/proc/cpuinfo")


def machine() -> dict[str, object]:
    """Return the model of the CPU, the cores that this process may use, and the threads that it computes with."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": _cpu_model(), "cores": cores, "threads": torch.get_num_threads()}


def _cpu_model() -> str:
    try:
        lines = _CPUS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
