"""A second process that generates the rounds while this one trains (`generation.on`), as the training sees it.

    FOLDER/checkpoints/background/recipe.toml  the run's recipe
    FOLDER/checkpoints/background/order.pt     the round that is to be generated, and what generates it: plan, weights, memory
    FOLDER/checkpoints/background/answer.pt    what came of it; its images are in the store
    FOLDER/checkpoints/background/run.lock     held by the second process for its whole life

The other side is `actgen/background.py`. Between the two go lines of JSON; all that is large goes by files. While the second
process lives it alone writes the store, the rejection log, the journal, the previews and `rounds`; this one reads what has
joined.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from tempfile import TemporaryFile
from typing import IO, Any

import torch

from ...core import files
from ...core.errors import RunFailure, UserError
from ...core.lock import refuse_in_use
from ...core.signals import asked, check
from ..callbacks import OnProgress

Message = dict[str, Any]
"""What one process says to the other, a line of JSON."""
CPU = "cpu"
RESTARTS = 2  # a round: a process that is lost more often meets something that will not go away
PATIENCE = 20.0  # seconds that a process may take to notice that the first one was killed
_LAUNCHED = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_TICK = 0.1  # seconds between two looks whether a signal has come

_log = logging.getLogger(__name__)


def background_folder(run: Path) -> Path:
    """Return where the two processes of the run in folder `run` leave what they have for each other."""
    return run / "checkpoints" / "background"


def recipe_path(run: Path) -> Path:
    """Return the file of the run's recipe."""
    return background_folder(run) / "recipe.toml"


def order_path(run: Path) -> Path:
    """Return the file of the round that is to be generated."""
    return background_folder(run) / "order.pt"


def answer_path(run: Path) -> Path:
    """Return the file of what came of it."""
    return background_folder(run) / "answer.pt"


@dataclass(eq=False)
class _Life:
    """One process, from its start to its end. `log`: what it printed; it is gone with this object."""

    process: subprocess.Popen[str]
    log: IO[bytes]

    def last_words(self) -> str:
        """Return the last line that it printed."""
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


@dataclass
class Background:
    """The second process of the run in folder `run` with this `recipe` (TOML), generating on `device`: "cpu" or "cuda:N".

    One round at a time: `generate` gives it one, `wait` returns what came of it. A process that is lost is started again, up to
    `RESTARTS` times a round, and goes on with the round where its journal ends.
    """

    run: Path
    device: str
    recipe: str
    _life: _Life | None = None
    _heard: SimpleQueue[tuple[_Life, Message | None]] = field(default_factory=SimpleQueue)
    _busy: bool = False
    _done: tuple[int, int] = (0, 0)
    _lost: int = 0

    def succeed(self) -> None:
        """Wait until the second process of an earlier life of this run has ended; `UserError` if it does not."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                refuse_in_use(background_folder(self.run))
                return
            except UserError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(_TICK)

    def start(self) -> None:
        """Start the process, if there is none: it opens its parts while something else goes on here."""
        if self._life is not None:
            return
        files.write_text(recipe_path(self.run), self.recipe)
        log = TemporaryFile()  # noqa: SIM115 (as long as the process)
        process = subprocess.Popen(
            [sys.executable, "-m", "actgen.experiment.background", str(self.run), self.device, str(os.getpid())],
            env=environment(self.device),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            encoding="utf-8",
            bufsize=1,
        )
        self._life = _Life(process, log)
        threading.Thread(target=_hear, args=(self._life, self._heard), daemon=True).start()

    def generate(self, order: Message) -> None:
        """Have a round generated."""
        files.save(order_path(self.run), order)
        answer_path(self.run).unlink(missing_ok=True)  # of the round before
        self._busy, self._done, self._lost = True, (0, 0), 0
        self.start()
        self._tell()

    def tend(self) -> None:
        """Hear what has happened, without waiting. `UserError` if the round cannot be generated."""
        with suppress(Empty):
            while True:
                self._take(*self._heard.get_nowait())

    def wait(self, on_sample: OnProgress) -> Message:
        """Wait for the round and return what came of it; a signal is answered at once, the round then goes on later."""
        while self._busy:
            with suppress(Empty):
                self._take(*self._heard.get(timeout=_TICK))
                if self._done[0]:
                    on_sample(*self._done)
            check()
        answer = files.load(answer_path(self.run))
        if answer is None:
            raise files.damaged(answer_path(self.run))
        return answer

    def on_progress(self, on_batch: OnProgress) -> OnProgress:
        """Return `on_batch`, with an ear for the second process."""

        def call(done: int, of: int) -> None:
            self.tend()
            on_batch(done, of)

        return call

    @contextmanager
    def sharing(self) -> Iterator[None]:
        """Leave the second process its share of the cores until the block ends."""
        before = torch.get_num_threads()
        if self.device == CPU and "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(max(1, _cores() - _threads()))
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def close(self) -> None:
        """End the process: it finishes the batch under way; a second signal does not wait for that."""
        life, self._life = self._life, None
        if life is not None:
            _end(life)
        self._busy = False
        shutil.rmtree(background_folder(self.run), ignore_errors=True)

    def _tell(self) -> None:
        assert self._life is not None
        assert self._life.process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended: that is heard
            self._life.process.stdin.write("generate\n")
            self._life.process.stdin.flush()

    def _take(self, life: _Life, said: Message | None) -> None:
        if life is not self._life:
            return  # the end of one that was succeeded
        if said is None:
            self._succeed_lost(life)
        elif said["event"] == "sample":
            self._done = said["done"], said["of"]
        elif said["event"] == "generated":
            self._busy = False
        elif said["event"] == "failed":
            raise _failure(said)

    def _succeed_lost(self, life: _Life) -> None:
        """Start the process again after it was lost, unless this one is about to end too."""
        code = life.process.wait()
        if asked():
            return
        self._lost += 1
        how = f"signal {-code}" if code < 0 else f"code {code}"
        if self._lost > RESTARTS:
            last = f' Its last words: "{words}".' if (words := life.last_words()) else ""
            memory = " That is often too little memory: give a smaller sampling.batch_size." if code == -signal.SIGKILL else ""
            raise RunFailure(
                f"the process that generates on {self.device} ended with {how}, {self._lost} times in one round."
                f"{memory}{last} The same command continues."
            )
        _log.warning("The process that generates on %s ended with %s; it is started again.", self.device, how)
        _release(life)
        self._life = None
        self.start()
        if self._busy:
            self._tell()


def environment(device: str) -> dict[str, str]:
    """Return the environment of the second process: its share of the threads, its GPU or none, and nothing of a launcher's."""
    own = {"CUDA_VISIBLE_DEVICES": "" if device == CPU else _gpu(int(device.partition(":")[2]))}
    if "OMP_NUM_THREADS" not in os.environ:
        own |= {"OMP_NUM_THREADS": str(_threads()), "MKL_NUM_THREADS": str(_threads())}
    launched = {name for name in os.environ if name in _LAUNCHED or name.startswith("TORCHELASTIC_")}
    return {**{name: value for name, value in os.environ.items() if name not in launched}, **own}


def _gpu(number: int) -> str:
    """Return what the driver calls the GPU that this process calls `number`."""
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    return visible[number] if all(visible) and number < len(visible) else str(number)


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _threads() -> int:
    return max(1, _cores() // 2)


def _hear(life: _Life, heard: SimpleQueue[tuple[_Life, Message | None]]) -> None:
    assert life.process.stdout is not None
    with life.process.stdout as lines:
        for line in lines:
            with suppress(ValueError):  # cut short by its end
                heard.put((life, json.loads(line)))
    heard.put((life, None))


def _failure(said: Message) -> Exception:
    """Return what the second process raised, to be raised here."""
    if said["kind"] == "UserError":
        return UserError(said["error"])
    if said["kind"] == "OSError":
        return OSError(said["number"], said["error"], said["path"])
    return RuntimeError(f"the second process failed: {said['error']}\n{said['trace']}")


def _end(life: _Life) -> None:
    """Ask a process to end: it finishes a batch under way. By force if a signal comes meanwhile."""
    try:
        life.process.terminate()
        life.process.wait()
    finally:
        life.process.kill()
        life.process.wait()
        _release(life)


def _release(life: _Life) -> None:
    assert life.process.stdin is not None
    with suppress(BrokenPipeError):
        life.process.stdin.close()
    life.log.close()
