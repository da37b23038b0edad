"""A launcher for tests: what torchrun does on one machine, by forking processes that have imported everything already.

It reads a JSON object a line and answers with one. A job has: `size`, how many processes; `arguments` of actgen, or `check`, a
function of `tests.support.process_checks`; `log`, the file for what they print; perhaps `hide`, a folder that all but rank 0
see empty; `kill`, [rank, lines, signal], and `watched`: what that rank is sent once that file has so many lines. The answer:
`codes` of exit, minus the signal for a process that a signal ended. As with torchrun, the others get SIGTERM when one has
failed.

Run with OMP_NUM_THREADS=1: a fork must not happen in a process that has threads.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

POLL, GRACE = 0.01, 20.0
MODULES = (
    "accelerate",
    "diffusers",
    "timm",
    "torch.distributed",
    "torchvision.transforms.v2",
    "actgen.experiment.run",
    "actgen.cli.show",
    "tests.support.process_checks",
    "transformers.models.clip.modeling_clip",
    "diffusers.models.autoencoders.autoencoder_tiny",
)


def main() -> None:
    """Serve until stdin ends."""
    import torch

    torch.set_num_threads(1)
    for name in MODULES:
        importlib.import_module(name)
    for line in sys.stdin:
        job = json.loads(line)
        port = _free_port()
        children = [_fork(job, rank, port) for rank in range(job["size"])]
        sys.stdout.write(json.dumps({"codes": _wait(children, job)}) + "\n")
        sys.stdout.flush()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _fork(job: dict[str, Any], rank: int, port: int) -> int:
    if child := os.fork():
        return child
    code = 1
    try:
        code = _live(job, rank, port)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _live(job: dict[str, Any], rank: int, port: int) -> int:
    """Be one process of the job."""
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(log, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if job["size"] > 1:
        names = {
            "RANK": rank,
            "LOCAL_RANK": rank,
            "WORLD_SIZE": job["size"],
            "LOCAL_WORLD_SIZE": job["size"],
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
        }
        os.environ.update({name: str(value) for name, value in names.items()})
    if rank and job.get("hide"):
        hide(Path(job["hide"]))
    if name := job.get("check"):
        getattr(importlib.import_module("tests.support.process_checks"), name)()
        return 0
    sys.argv = ["actgen", *job["arguments"]]
    from actgen.cli.app import main as command

    command()
    return 0


def hide(folder: Path) -> None:
    """Put an empty read-only disk over a folder, for this process alone."""
    unshared = ctypes.CDLL(None).unshare(0x00020000)  # CLONE_NEWNS
    commands = (["mount", "--make-rprivate", "/"], ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)])
    if unshared or any(subprocess.run(command, check=False, capture_output=True).returncode for command in commands):
        sys.stdout.write("may not hide a folder\n")
        sys.exit(3)


def _wait(children: list[int], job: dict[str, Any]) -> list[int]:
    codes: dict[int, int] = {}
    told: float | None = None
    kill = job.get("kill")
    while len(codes) < len(children):
        for child in set(children) - codes.keys():
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                codes[child] = os.waitstatus_to_exitcode(status)
        running = set(children) - codes.keys()
        if kill and Path(job["watched"]).exists() and Path(job["watched"]).read_text(encoding="utf-8").count("\n") >= kill[1]:
            if children[kill[0]] in running:
                os.kill(children[kill[0]], kill[2])
            kill = None
        if told is None and any(codes.values()):
            told = time.monotonic()
            for child in running:
                os.kill(child, signal.SIGTERM)
        if told is not None and time.monotonic() - told > GRACE:
            for child in running:
                os.kill(child, signal.SIGKILL)
        time.sleep(POLL)
    return [codes[child] for child in children]


if __name__ == "__main__":
    main()
