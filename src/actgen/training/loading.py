"""The batches of an epoch, by data-loading processes if there are any; one that is lost is replaced, and nothing changes."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ..core.errors import UserError
from ..core.text import visible
from ..data.mixture import Mixture

MOST_LOST = 3  # times an epoch
Handler = Callable[[int, FrameType | None], object] | int | None


def batches(
    mixture: Mixture, order: Sequence[int], size: int, workers: int, rng: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
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
                raise UserError(
                    f"data-loading processes were killed {lost} times in one epoch; often there is too little "
                    "memory, main or shared (/dev/shm).\nThe same command continues."
                ) from error


class _Lost(Exception):
    """A data-loading process is gone."""


def _iterate(loader: DataLoader[Any]) -> Iterator[tuple[Tensor, Tensor]]:
    """Iterate over a loader; an error of a process is raised here, in words, and not as its traceback."""
    with _no_surprise() as quieten:
        iterator = iter(loader)
        quieten()
        lost = False
        try:
            while not lost:
                try:
                    batch = next(iterator, None)
                except Exception as error:
                    if words := _words(str(error)):
                        raise UserError(words) from error
                    if not loader.num_workers or not _is_loss(error):
                        raise
                    lost = True  # and nothing keeps `error`, whose traceback holds the iterator
                    continue
                if batch is None:
                    return
                yield batch
        finally:
            del iterator  # its processes end here, while no handler of somebody else answers
        raise _Lost


@contextmanager
def _no_surprise() -> Iterator[Callable[[], None]]:
    """Let no lost process raise between batches, in the middle of an optimiser's step too: the next batch tells it.

    torch's handler of SIGCHLD would, and an earlier loader of somebody else may have left it. The yielded function is called
    once the processes are there, as torch sets its handler with the first. At the end the handler is the one that was found.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    before = signal.getsignal(signal.SIGCHLD)

    def calm(number: int, frame: FrameType | None) -> None:
        try:
            if callable(before):
                before(number, frame)
        except RuntimeError as error:
            if not _is_loss(error):
                raise

    try:
        yield lambda: _handle(calm)
    finally:
        _handle(before)


def _handle(handler: Handler) -> None:
    """Set what answers SIGCHLD, where Python may: in its main thread. What C had set (None) it cannot set again."""
    if threading.current_thread() is threading.main_thread() and handler is not None:
        signal.signal(signal.SIGCHLD, handler)


def _is_loss(error: Exception) -> bool:
    """Whether torch says that a process is gone, or what it had sent cannot be fetched from it any more."""
    return isinstance(error, (OSError, EOFError)) or str(error).startswith("DataLoader worker (pid")


def _words(text: str) -> str:
    """Return the last line of what torch passes on from a process, which is a traceback; "" if it is something else."""
    if not re.match(r"Caught \w+ in DataLoader worker", text):
        return ""
    name, _, message = text.strip().splitlines()[-1].partition(": ")
    return visible(message) if name.endswith(UserError.__name__) else f"an image cannot be loaded ({visible(message)})."
