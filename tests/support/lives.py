"""Commands that live in the nursery, and how their lives ended."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ended:
    """How a life ended: exit code, or minus the signal; seconds; file operations if it was not killed."""

    code: int
    seconds: float
    events: int


class Nursery:
    """Where commands live; one at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def live(
        self,
        arguments: Sequence[str],
        log: Path,
        *,
        after: float | None = None,
        number: int = signal.SIGKILL,
        event: int | None = None,
        before: bool = False,
    ) -> Ended:
        """Let `actgen ARGUMENTS` live, until it is sent signal `number` after some seconds, or dies at a file operation."""
        life: dict[str, Any] = {
            "arguments": list(arguments),
            "log": str(log),
            "after": after,
            "signal": int(number),
            "event": event,
            "before": before,
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(life) + "\n")
        self._process.stdin.flush()
        return Ended(**json.loads(self._process.stdout.readline()))
