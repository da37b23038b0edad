"""Lives of real commands: started in no time, by forking, and ended as the test wishes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.killed_runs import RUNS, Case
from tests.support.lives import ROOT, Nursery


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), *sys.path])}
    command = [sys.executable, "-m", "tests.support.nursery"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Nursery(process)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(30)


@pytest.fixture(scope="session")
def cases(
    nursery: Nursery, digits: Path, tiny_generator: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Case]]:
    """Give a kind of run by its name; each has one folder and one clean end."""
    folders = tmp_path_factory.mktemp("kills")

    @cache
    def case(kind: str) -> Case:
        folder = folders / kind
        folder.mkdir()
        return Case(nursery=nursery, digits=digits, generator=tiny_generator, folder=folder, settings=RUNS[kind])

    yield case
    shutil.rmtree(folders, ignore_errors=True)
