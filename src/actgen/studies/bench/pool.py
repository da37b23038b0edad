"""Jobs -> worker processes: one a core or a GPU, each doing run after run from one queue."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch

from ...core.errors import UserError
from .plan import Job
from .rows import Row

PATIENCE = 20.0
"""Seconds that a process which was told to end may take."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """What a worker tells. `kind`: "started"; "epoch" and "sample" with `done` of `of`; "finished" with its `row`; "failed"."""

    kind: str
    worker: int
    job: Job
    done: int = 0
    of: int = 0
    row: Row | None = None
    error: str = ""
    trace: str = ""


@dataclass
class _Worker:
    place: int
    process: subprocess.Popen[str]
    job: Job | None = None


Message = dict[str, Any]
Said = tuple[_Worker, Message | None]


def default_processes() -> int:
    """Return one process a GPU, or one a core that this process may use."""
    return torch.cuda.device_count() or len(os.sched_getaffinity(0))


def run_jobs(jobs: Sequence[Job], out: Path, processes: int) -> Generator[Event]:
    """Run `jobs` in `processes` processes, yielding what happens; what failed is told of and does not stop the others.

    The processes end with this iterator, however it ends. Raises UserError if a job's input cannot be used.
    """
    waiting, heard, count = deque(jobs), SimpleQueue[Said](), min(processes, len(jobs))
    workers: dict[int, _Worker] = {}
    try:
        for place in range(count):
            workers[place] = _start(place, out, count, heard)
            yield _give(workers[place], waiting.popleft())
        while any(worker.job for worker in workers.values()):
            worker, said = heard.get()
            if worker is not workers[worker.place] or worker.job is None:
                continue  # the end of a process that had nothing to do
            event = _event(worker, said, out)
            if event.kind in ("finished", "failed"):
                worker.job = None
            yield event
            if said is None and waiting:
                _stop([worker])
                workers[worker.place] = worker = _start(worker.place, out, count, heard)
            if worker.job is None and waiting:
                yield _give(worker, waiting.popleft())
    finally:
        _stop(list(workers.values()))


def _start(place: int, out: Path, count: int, heard: SimpleQueue[Said]) -> _Worker:
    threads = max(1, len(os.sched_getaffinity(0)) // count)
    log = _log(out, place)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "actgen.studies.bench.worker", str(out), str(threads)],
            env=_environment(place, threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            encoding="utf-8",
            bufsize=1,
        )
    worker = _Worker(place, process)
    threading.Thread(target=_hear, args=(worker, heard), daemon=True).start()
    return worker


def _environment(place: int, threads: int) -> dict[str, str]:
    """Return the environment of a worker: its share of the threads, and its GPU if there are any."""
    own = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    if (gpus := torch.cuda.device_count()) > 0:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        names = visible if len(visible) >= gpus and all(visible) else [str(number) for number in range(gpus)]
        own["CUDA_VISIBLE_DEVICES"] = names[place % gpus]
    return {**os.environ, **own}


def _hear(worker: _Worker, heard: SimpleQueue[Said]) -> None:
    assert worker.process.stdout is not None
    with worker.process.stdout as lines:
        for line in lines:
            heard.put((worker, json.loads(line)))
    heard.put((worker, None))


def _give(worker: _Worker, job: Job) -> Event:
    assert worker.process.stdin is not None
    worker.job = job
    with suppress(BrokenPipeError):  # it has ended: that is heard
        worker.process.stdin.write(job.to_line() + "\n")
        worker.process.stdin.flush()
    return Event(kind="started", worker=worker.place, job=job)


def _event(worker: _Worker, said: Message | None, out: Path) -> Event:
    assert worker.job is not None
    if said is None:
        code = worker.process.wait()
        error = f"its process ended with {'signal' if code < 0 else 'code'} {abs(code)} (see {_log(out, worker.place)})"
        return Event(kind="failed", worker=worker.place, job=worker.job, error=error)
    if said["event"] == "refused":
        raise UserError(f"{worker.job}: {said['error']}")
    facts = {key: value for key, value in said.items() if key != "event"}
    return Event(kind=said["event"], worker=worker.place, job=worker.job, **facts)


def _log(out: Path, place: int) -> Path:
    return out / "logs" / f"worker-{place}.log"


def _stop(workers: Sequence[_Worker]) -> None:
    """End the processes: idle ones by closing stdin, busy ones by a signal, stubborn ones by force."""
    for worker in workers:
        if worker.job is not None:
            worker.process.terminate()
        assert worker.process.stdin is not None
        with suppress(BrokenPipeError):
            worker.process.stdin.close()
    for worker in workers:
        try:
            worker.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            worker.process.kill()
            worker.process.wait()
