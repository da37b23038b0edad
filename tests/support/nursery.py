"""A process that imports everything once and forks a child for every life of a command: `actgen train ...`, and its death.

It reads a JSON object a line and answers with one. A life has: `arguments`; `log`, the file for what it prints; and at most one
of `after` (seconds until `signal`) or `event` (the number of the file operation at which it kills itself; `before` or in the
middle of it). The answer: `code` as of `subprocess`, `seconds`, `events` (file operations until the end of an unharmed life).

Run with OMP_NUM_THREADS=1: a fork must not happen in a process that has threads.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from tests.support.launcher import MODULES

POLL = 0.002


def main() -> None:
    """Serve until stdin ends."""
    import torch

    torch.set_num_threads(1)
    _import(MODULES)
    for line in sys.stdin:
        life = json.loads(line)
        began = time.monotonic()
        with tempfile.TemporaryFile("w+") as told:  # not a pipe: what is told may be more than one holds
            if (child := os.fork()) == 0:
                _live(life, told)
            code = _wait(child, life, began)
            told.seek(0)
            end = json.loads(told.read() or "{}")
        _import(end.pop("modules", []))
        sys.stdout.write(json.dumps({"code": code, "seconds": time.monotonic() - began, "events": 0, **end}) + "\n")
        sys.stdout.flush()


def _import(modules: Sequence[str]) -> None:
    """Import what a life has needed: the next one finds it there."""
    for name in modules:
        with suppress(Exception):
            importlib.import_module(name)


def _wait(child: int, life: dict[str, Any], began: float) -> int:
    """Wait for the end of a child, which is sent its signal when its time has come."""
    after = life.get("after")
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if after is not None and time.monotonic() - began >= after:
            os.kill(child, life["signal"])
            after = None
        time.sleep(POLL)


def _live(life: dict[str, Any], told: TextIO) -> None:
    """Be the command, in a forked child; does not return."""
    log = os.open(life["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(log, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    counter = _count(life)
    _write_down_drawings(Path(life["log"]).with_suffix(".drawn"))
    sys.argv = ["actgen", *life["arguments"]]
    code = 1
    try:
        from actgen.cli.app import main as command

        command()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        told.write(json.dumps({"events": counter(), "modules": list(sys.modules)}))
        told.flush()
        os._exit(code)


def _count(life: dict[str, Any]) -> Callable[[], int]:
    """Count file operations, and die at the one that `life` names; return what tells the count."""
    from actgen.data.store.manifest import Manifest

    seen = 0

    def at_this_one() -> bool:
        nonlocal seen
        seen += 1
        return seen == life.get("event")

    def mortal(operation: Callable[..., Any], in_the_middle: Callable[..., Any] | None = None) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            die = at_this_one()
            if die and life.get("before"):
                os.kill(os.getpid(), signal.SIGKILL)
            result = (in_the_middle if die and in_the_middle else operation)(*arguments, **more)
            if die:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

    def half_a_line(manifest: Manifest, file: Any, data: bytes) -> None:
        file.seek(0, os.SEEK_END)
        file.write(data[: len(data) * 2 // 3])

    for name in ("fsync", "replace", "unlink", "mkdir", "rmdir"):
        setattr(os, name, mortal(getattr(os, name)))
    Manifest._write = mortal(Manifest._write, half_a_line)  # type: ignore[method-assign]
    return lambda: seen


def _write_down_drawings(path: Path) -> None:
    """Append a line to `path` for every image that is generated, whether it is kept or not."""
    from actgen.generation.sampler import ImageSampler

    draw = ImageSampler._try_batch

    def told(sampler: ImageSampler, opener: Any, requests: Any, *rest: Any) -> Any:
        with path.open("a", encoding="utf-8") as file:
            file.writelines(f"{request.key}\n" for request in requests)
        return draw(sampler, opener, requests, *rest)

    ImageSampler._try_batch = told  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    main()
