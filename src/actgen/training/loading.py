"""The batches of the epochs, by data-loading processes if there are any."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ..core.errors import UserError
from ..core.text import visible
from .epoch_images import EpochImages


class Loader:
    """The batches of one epoch after the other; its `workers` processes stay from epoch to epoch."""

    def __init__(self, images: EpochImages, workers: int) -> None:
        self.images, self.workers = images, workers
        self._batches: list[list[int]] = []
        self._loader = DataLoader(
            images,
            batch_sampler=self._batches,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # or torch would draw from the global stream, for nothing
        )

    def epoch(self, epoch: int, order: Sequence[int], places: Sequence[range]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (pixels, labels) of the places of one batch after the other, in an epoch of this order.

        `UserError` if an image cannot be read or a process is gone.
        """
        self.images.turn(epoch, order)
        self._batches[:] = [list(batch) for batch in places]
        whole = False
        with _quiet() as quieten, _told(self.workers):
            try:
                iterator = iter(self._loader)
                quieten()
                yield from iterator
                whole = True
            finally:
                if not whole:
                    self.close()  # or torch would tell of a killed process later, too

    def close(self) -> None:
        """Let the processes go."""
        iterator, self._loader._iterator = self._loader._iterator, None
        getattr(iterator, "_shutdown_workers", lambda: None)()


@contextmanager
def _quiet() -> Iterator[Callable[[], None]]:
    """Let no killed process raise in the middle of a step, as torch's handler of SIGCHLD would: the next batch tells of it.

    What is yielded is to be called when the processes are there; torch sets its handler with the first.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGCHLD) is None:
        yield lambda: None
        return
    before = signal.getsignal(signal.SIGCHLD)
    try:
        yield lambda: _answer(signal.SIG_DFL)
    finally:
        _answer(before)


def _answer(handler: Callable[[int, FrameType | None], object] | int | None) -> None:
    signal.signal(signal.SIGCHLD, handler)


@contextmanager
def _told(workers: int) -> Iterator[None]:
    """Say in words that a data-loading process cannot read an image or was killed."""
    try:
        yield
    except Exception as error:
        text = str(error)
        if workers and (isinstance(error, (OSError, EOFError)) or text.startswith("DataLoader worker (pid")):
            raise UserError(
                "a data-loading process was killed; often there is too little memory, main or shared (/dev/shm).\n"
                "The same command continues."
            ) from error
        if re.match(r"Caught \w+ in DataLoader worker", text):
            raise UserError(_last_words(text)) from error
        raise


def _last_words(text: str) -> str:
    """Return the last line of what torch passes on from a process, which is a traceback."""
    name, _, message = text.strip().splitlines()[-1].partition(": ")
    return visible(message) if name.endswith(UserError.__name__) else f"an image cannot be loaded ({visible(message)})."
