"""SIGTERM, SIGINT (Ctrl-C), SIGHUP (a lost connection): what is under way ends safely first, a second one does not wait.

Code that must not be cut short runs in `with deferred():` and asks `check()` where it can stop. Everywhere else a signal raises
`Stopped` at once. Without `heeded()`, which the command line uses, signals do what they always do.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Stopped(KeyboardInterrupt):
    """A signal asked this process to end; `code`, the exit code that says so: SIGTERM 143, SIGINT 130, SIGHUP 129."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number, self.code = number, 128 + number


class _State:
    """Of this process: who installed the handlers, how many `deferred` are open, the first signal that came and when.

    A signal within `patience` seconds after it is the same one.
    """

    owner = 0
    deferred = 0
    asked = 0
    since = 0.0
    patience = 0.0


@contextmanager
def heeded(signals: Sequence[int] = SIGNALS) -> Iterator[None]:
    """Handle `signals`, but those that are ignored (nohup), until the block ends; to be called in the main thread."""
    handled = [number for number in signals if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, _handle) for number in handled}
    _State.owner, _State.asked = os.getpid(), 0
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _State.asked = 0


@contextmanager
def deferred() -> Iterator[None]:
    """Let the block come to its end, or to a `check()`, before a signal is answered."""
    _State.deferred += 1
    try:
        yield
    finally:
        _State.deferred -= 1
    if _State.deferred == 0:
        check()


def asked() -> bool:
    """Whether a signal has come that is not answered yet."""
    return _State.asked != 0


def signal_asked() -> int:
    """Return the number of that signal, 0 if there is none."""
    return _State.asked


def ask(number: int) -> None:
    """Do as if signal `number` had come, which is answered at the next `check`; 0 for none."""
    if number and not _State.asked:
        _State.asked, _State.since = number, time.monotonic()


def be_patient(seconds: float) -> None:
    """Take a signal that comes within so many seconds after the first for the same one, sent twice."""
    _State.patience = seconds


def check() -> None:
    """Raise `Stopped` if a signal has come."""
    if _State.asked:
        raise Stopped(_State.asked)


def _handle(number: int, _: FrameType | None) -> None:
    if os.getpid() != _State.owner:  # a data-loading process: Ctrl-C reaches it too, but the first one decides
        if number != signal.SIGINT:
            os._exit(128 + number)
        return
    now = time.monotonic()
    again = bool(_State.asked) and now - _State.since >= _State.patience
    if not _State.asked:
        _State.since = now
    _State.asked = number
    if again or not _State.deferred:
        raise Stopped(number)
