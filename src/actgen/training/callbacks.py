"""Who is told what a run does while it does it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .stages import EpochStats

OnProgress = Callable[[int, int], None]


def _nothing(*_: object) -> None:
    """Tell nobody."""


@dataclass(frozen=True, kw_only=True)
class Callbacks:
    """Functions that a run calls: after every epoch, after every batch of it, after every generated image (done, of how many).

    Those that are not given do nothing. What they raise ends the run as a signal does: the same command continues it.
    """

    on_epoch: Callable[[EpochStats], None] = _nothing
    on_batch: OnProgress = _nothing
    on_sample: OnProgress = _nothing


SILENT = Callbacks()
