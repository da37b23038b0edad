"""Memory: how much was needed at most, and whether an error says that there was too little."""

from __future__ import annotations

import gc
import resource
import sys

import torch

_TOLD = ("can't allocate memory", "not enough memory", "out of memory", "alloc_failed")


def peak_gib(device: str | torch.device = "cpu") -> float:
    """Return the most memory used so far, GiB: allocated on a GPU, or resident in this process."""
    if torch.device(device).type == "cuda":
        return float(torch.cuda.max_memory_allocated(device)) / 2**30
    units = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * units / 2**30


def give_back_memory() -> None:
    """Give back what is not used any more: also what networks that hold each other use, and torch's reserve on a GPU."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception is an allocator's refusal, of a GPU or of the CPU."""
    told = str(error).lower()
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and any(words in told for words in _TOLD)
    )
