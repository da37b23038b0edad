"""One process at a time: who holds a folder is named, the dead are succeeded, other hosts are respected."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

import psutil
import pytest

from actgen.core.errors import UserError
from actgen.core.lock import LOCK, locked, refuse_in_use
from tests.support.lock_holder import holder


def left_behind(folder: Path, **changes: Any) -> Path:
    """Write the lock file of a process that is gone."""
    folder.mkdir(exist_ok=True)
    facts = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": "2026-01-01 10:00:00+00:00",
        "started": psutil.Process().create_time(),
        **changes,
    }
    (folder / LOCK).write_text(json.dumps(facts), encoding="utf-8")
    return folder


def test_a_lock_is_there_while_it_is_held_and_leaves_nothing(tmp_path: Path) -> None:
    with locked(tmp_path / "run"):
        assert [path.name for path in (tmp_path / "run").iterdir()] == [LOCK]
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "run").mkdir()
    with pytest.raises(KeyError), locked(tmp_path / "run"):
        raise KeyError
    refuse_in_use(tmp_path / "run")
    refuse_in_use(tmp_path / "nowhere")
    assert list(tmp_path.rglob("*")) == [tmp_path / "run"]


def test_the_second_is_refused_and_told_who_the_first_is(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        text = (tmp_path / LOCK).read_text(encoding="utf-8")
        words = rf"process {process.pid} on {socket.gethostname()} since 20\d\d-.*kill"
        with pytest.raises(UserError, match=words), locked(tmp_path):
            pass
        with pytest.raises(UserError, match=words):
            refuse_in_use(tmp_path)
        assert (tmp_path / LOCK).read_text(encoding="utf-8") == text
        process.communicate("")
        assert process.returncode == 0
    with locked(tmp_path):
        pass


def test_a_process_that_was_killed_is_succeeded(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert json.loads((tmp_path / LOCK).read_text(encoding="utf-8"))["pid"] == process.pid
    with locked(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text(encoding="utf-8"))["pid"] == os.getpid()


def test_the_same_process_cannot_hold_a_folder_twice(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(UserError, match=f"process {os.getpid()} "), locked(tmp_path / "."):
        pass
    with locked(tmp_path):
        pass


@pytest.mark.parametrize(
    "changes",
    [{"pid": 2**22 + 1}, {"pid": os.getppid(), "started": 1.0}, {}],
    ids=["no such process", "a later process with its number", "our own number, as in a container"],
)
def test_a_stale_lock_is_taken_over(tmp_path: Path, changes: dict[str, Any]) -> None:
    with locked(left_behind(tmp_path / "run", **changes)):
        pass
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}'])
def test_a_torn_lock_file_is_taken_over(tmp_path: Path, text: str) -> None:
    (tmp_path / LOCK).write_text(text, encoding="utf-8")
    with locked(tmp_path):
        pass


def test_another_host_is_respected_with_what_to_do(tmp_path: Path) -> None:
    folder = left_behind(tmp_path / "run", host="elsewhere", pid=7)
    with pytest.raises(UserError, match=rf"process 7 on elsewhere since 2026.*remove {folder / LOCK}"), locked(folder):
        pass
    assert (folder / LOCK).exists()


def test_where_the_kernel_cannot_lock_a_living_process_is_respected(tmp_path: Path) -> None:
    parent = psutil.Process(os.getppid())
    folder = left_behind(tmp_path / "run", pid=parent.pid, started=parent.create_time())
    with pytest.raises(UserError, match=f"process {parent.pid} "), locked(folder):
        pass
