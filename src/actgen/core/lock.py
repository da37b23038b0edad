"""One process at a time on a folder: a kernel lock that dies with its process, and a file that says who holds it.

The kernel's lock (POSIX, so NFS knows it too and worker processes do not inherit it) is what counts on one machine: after a
SIGKILL it is free. The file counts where the kernel cannot know: a lock written on another host is respected, since that
process cannot be seen from here. Only this file opens a lock file: a process that closes one lets go of its lock.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import psutil

from .errors import UserError
from .files import PART, make_folder
from .marker import MARKER

LOCK = "run.lock"
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}  # of a file system that cannot lock: the file alone has to do
_held: set[Path] = set()  # by this process, to which the kernel would give the same lock twice


@dataclass(frozen=True, kw_only=True)
class Owner:
    """Who holds a folder. `started` (seconds since 1970) tells a process from a later one with the same number."""

    pid: int
    host: str
    since: str
    started: float

    def lives(self) -> bool:
        """Whether this process is still there, as far as can be seen from this host."""
        if self.host != socket.gethostname():
            return True
        if self.pid == os.getpid():  # the first process of a container has the same number after every start
            return False
        try:
            process = psutil.Process(self.pid)
            if process.status() == psutil.STATUS_ZOMBIE:  # dead, and nobody has asked for its exit code (yet)
                return False
            return bool(abs(process.create_time() - self.started) < 2.0)  # the clock may have been set
        except psutil.Error:
            return False


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder`; `UserError` that names the process which holds it already.

    A folder that is not there is made, and removed again if it stays empty. A dead process of this host is succeeded.
    """
    path = folder.resolve() / LOCK
    if path in _held:
        raise UserError(_refusal(folder, _self()))
    made = not path.parent.exists()
    make_folder(path.parent)
    number = _acquire(path, folder)
    _held.add(path)
    try:
        yield
    finally:
        _held.discard(path)
        path.unlink(missing_ok=True)  # before it is let go: nobody else's file is removed
        os.close(number)
        if made:
            with suppress(OSError):  # nothing was written into it
                path.parent.rmdir()


def is_unused(folder: Path) -> bool:
    """Whether a folder is missing or holds nothing, but for what a process leaves that is killed right after its start."""
    return not folder.is_dir() or all(path.name in (LOCK, MARKER) or path.suffix == PART for path in folder.iterdir())


def refuse_in_use(folder: Path) -> None:
    """Raise `UserError` if another process holds `folder` now; nothing is made if it is free."""
    if (folder / LOCK).exists():
        with locked(folder):
            pass


def _acquire(path: Path, folder: Path) -> int:
    """Return the descriptor of the lock file, locked and with our name in it."""
    while True:
        number = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            free = _lock(number)
            owner = _read(number)
            if not free or (owner is not None and owner.lives()):
                raise UserError(_refusal(folder, owner))
            if _is_at(number, path):
                _write(number, _self())
                return number
        except BaseException:
            os.close(number)
            raise
        os.close(number)  # it was removed by its owner between our opening and our locking it


def _lock(number: int) -> bool:
    try:
        fcntl.lockf(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return False
        if error.errno not in _NO_LOCKS:
            raise
    return True


def _is_at(number: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(number), path.stat())
    except FileNotFoundError:
        return False


def _self() -> Owner:
    process = psutil.Process()
    now = datetime.now().astimezone().isoformat(" ", "seconds")
    return Owner(pid=process.pid, host=socket.gethostname(), since=now, started=process.create_time())


def _read(number: int) -> Owner | None:
    """Return who wrote the file; None if it is empty, or torn because its writer was killed."""
    try:
        facts = json.loads(os.pread(number, 4096, 0))
        return Owner(pid=int(facts["pid"]), host=str(facts["host"]), since=str(facts["since"]), started=float(facts["started"]))
    except (ValueError, KeyError, TypeError):
        return None


def _write(number: int, owner: Owner) -> None:
    os.ftruncate(number, 0)
    os.pwrite(number, (json.dumps(asdict(owner)) + "\n").encode(), 0)
    os.fsync(number)


def _refusal(folder: Path, owner: Owner | None) -> str:
    if owner is None:
        return f"{folder} is in use by another process. Wait for it to end, or choose another folder."
    who = f"{folder} is in use by process {owner.pid} on {owner.host} since {owner.since}."
    if owner.host == socket.gethostname():
        return f"{who} Wait for it, end it (kill {owner.pid}) and run this command again, or choose another folder."
    return f"{who} If it no longer runs there, remove {folder / LOCK} and run this command again."
