"""Jobs of several processes, started in no time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT), *sys.path])}

Launch = Callable[..., list[int]]


@pytest.fixture(scope="session")
def launch() -> Iterator[Launch]:
    """Start a job as `tests.support.launcher` describes it, and return the exit codes of its processes."""
    command = [sys.executable, "-m", "tests.support.launcher"]
    with subprocess.Popen(
        command, cwd=ROOT, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def start(size: int, log: Path, arguments: Sequence[str] = (), **more: Any) -> list[int]:
            assert process.stdin is not None
            assert process.stdout is not None
            job = {"size": size, "log": str(log), "arguments": list(arguments), **more}
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
            return list(json.loads(process.stdout.readline())["codes"])

        yield start
        process.stdin.close()
        process.wait(30)
