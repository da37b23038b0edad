"""The batches of an epoch, by data-loading processes if there are any; one that is lost is replaced, and nothing changes."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ..data.mixture import Mixture
from ..errors import UserError
from ..plain import visible

MOST_LOST = 3  # times an epoch


def batches(
    mixture: Mixture, order: Sequence[int], size: int, workers: int, rng: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:  # fmt: skip
    """Yield (pixels, labels) of the images `order`, `size` at a time.

    What an image is depends on its index only, so after a loss of processes new ones go on with the next batch. `UserError` if
    that happens too often, or if an image cannot be read.
    """
    done = lost = 0
    while True:
        loader = DataLoader(mixture, batch_size=size, sampler=order[done * size :], num_workers=workers, generator=rng)
        try:
            for batch in _iterate(loader):
                done += 1
                yield batch
            return
        except _Lost as error:
            lost += 1
            if lost > MOST_LOST:
                raise UserError(f"data-loading processes were killed {lost} times in one epoch; often there is too little "
                                "memory, main or shared (/dev/shm).\nThe same command continues.") from error  # fmt: skip


class _Lost(Exception):
    """A data-loading process is gone."""


def _iterate(loader: DataLoader[Any]) -> Iterator[tuple[Tensor, Tensor]]:
    """Iterate over a loader; an error of a process is raised here, in words, and not as its traceback."""
    with _no_surprise():
        iterator = iter(loader)
    while True:
        try:
            batch = next(iterator, None)
        except Exception as error:
            if words := _words(str(error)):
                raise UserError(words) from error
            if loader.num_workers and _is_loss(error):
                raise _Lost from error
            raise
        if batch is None:
            return
        yield batch


@contextmanager
def _no_surprise() -> Iterator[None]:
    """Keep the handler of SIGCHLD: torch's would raise anywhere, in the middle of an optimiser's step too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGCHLD)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, before)


def _is_loss(error: Exception) -> bool:
    """Whether torch says that a process is gone, or what it had sent cannot be fetched from it any more."""
    return isinstance(error, (OSError, EOFError)) or str(error).startswith("DataLoader worker (pid")


def _words(text: str) -> str:
    """Return the last line of what torch passes on from a process, which is a traceback; "" if it is something else."""
    if not re.match(r"Caught \w+ in DataLoader worker", text):
        return ""
    name, _, message = text.strip().splitlines()[-1].partition(": ")
    return visible(message) if name.endswith(UserError.__name__) else f"an image cannot be loaded ({visible(message)})."
