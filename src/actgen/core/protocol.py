"""A process that works for the one that started it: orders are lines on stdin, what happens is told as lines on stdout.

It ends when stdin closes, in the middle of anything.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue

Tell = Callable[..., None]


def listen() -> Iterator[str]:
    """Return the lines that arrive on stdin; from now on the process ends when stdin closes."""
    lines: SimpleQueue[str] = SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return iter(lines.get, "")


def open_channel() -> Tell:
    """Return what tells of an event and its facts on stdout, which from now on is closed to all else."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # what libraries print is no message

    def tell(event: str, **facts: object) -> None:
        channel.write(json.dumps({"event": event, **facts}) + "\n")

    return tell
