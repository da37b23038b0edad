"""A run that is asked to stop, or whose disk is full: a message, nothing lost, and it goes on from there."""

from __future__ import annotations

import random
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from actgen.data.store.verify import verify
from tests.support.killed_runs import Case
from tests.support.whole_runs import assert_same_run

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]


@pytest.fixture
def case(cases: Callable[[str], Case]) -> Case:
    return cases("guided by hard examples")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_asked_to_stop_it_ends_with_how_to_continue_and_continues(case: Case, number: int, code: int) -> None:
    rng, stops = random.Random(code), 0
    for attempt in range(5):  # a run on a machine that has become faster ends before it is asked to
        out = case.folder / f"stopped-{code}-{attempt}"
        stops += _stopped_to_the_end(case, out, case.whole.seconds, number, rng)
        assert_same_run(case.folder / "clean", out)
        if stops:
            break
    assert stops > 0


def _stopped_to_the_end(case: Case, out: Path, seconds: float, number: int, rng: random.Random) -> int:
    """Ask a run to stop, continue it, and so on to its end; return how often it stopped in words."""
    stops, code = 0, 128 + number
    while (ended := case.live(out, after=rng.uniform(0.2, 0.9) * seconds, number=number)).code != 0:
        assert ended.code in (code, -number)  # the latter: before the command could listen
        said = out.with_suffix(".log").read_text(encoding="utf-8")
        if ended.code == code:
            stops += 1
            assert re.search(r"stopped\. Continue with: actgen train --data \S+ ", said), said
            assert "Traceback" not in said
        if (out / "store" / "metadata.jsonl").exists():
            assert verify(out / "store").damage == []
        assert stops < 50
    return stops


def test_a_full_disk_is_a_message_and_with_room_the_run_goes_on(case: Case, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(disk)], check=False, capture_output=True
    ).returncode:
        pytest.skip("may not mount a small file system")
    try:
        out = disk / "run"
        ended = case.live(out)
        said = out.with_suffix(".log").read_text(encoding="utf-8")
        assert ended.code == 3, said
        assert "No space left on device" in said
        assert "Traceback" not in said
        if (out / "store" / "metadata.jsonl").exists():
            assert verify(out / "store").damage == []
        subprocess.run(["mount", "-o", "remount,size=256m", str(disk)], check=True)
        assert case.live(out).code == case.whole.code == 0
        assert_same_run(case.folder / "clean", out)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
