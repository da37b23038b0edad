"""The only door to randomness: (run seed, what it is for) -> int -> `torch.Generator`.

Randomness belongs to the thing drawn, not to the order of drawing: every key has a stream of its own, so results do
not depend on the batch size, the number of processes, or on where a run was interrupted.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch


def derive(seed: int, *key: str | int) -> int:
    """Return a 63-bit seed that is a pure function of `seed` and `key`.

    The parts of the key are length-prefixed before hashing, so ("ab", "c") and ("a", "bc") differ.
    """
    digest = hashlib.sha256()
    for part in (seed, *key):
        text = f"{type(part).__name__}:{part}".encode()
        digest.update(len(text).to_bytes(4, "big") + text)
    return int.from_bytes(digest.digest()[:8], "big") >> 1


def generator(seed: int, *key: str | int) -> torch.Generator:
    """Return a CPU `torch.Generator` seeded with `derive(seed, *key)`."""
    return torch.Generator().manual_seed(derive(seed, *key))


def permutation(n: int, seed: int, *key: str | int) -> list[int]:
    """Return a random order of range(n) that belongs to `key`."""
    return list(torch.randperm(n, generator=generator(seed, *key)).tolist())


@contextmanager
def streams() -> Iterator[Callable[[int], None]]:
    """Yield a function that starts the global streams of Python, NumPy and torch (CPU) at a seed; they end as they were found.

    For transforms of others, which draw from them.
    """

    def start(seed: int) -> None:
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.default_generator.manual_seed(seed)

    found = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield start
    finally:
        random.setstate(found[0])
        np.random.set_state(found[1])
        torch.set_rng_state(found[2])
