"""The source tree keeps its shape: few entries at the root, few arrows between rooms, no circle, a short contract."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tools.house import ROOT, House, measure


@pytest.fixture(scope="module")
def house() -> House:
    return measure(ROOT)


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / "src" / "actgen" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def test_root_has_few_entries(house: House) -> None:
    assert 1 <= house.files <= 2
    assert 1 <= house.folders <= 12


def test_rooms_have_few_arrows_and_no_circle(house: House) -> None:
    assert 1 <= house.arrows <= 80
    assert house.circles == 0


def test_contract_is_short(house: House) -> None:
    assert 1 <= house.contract <= 10


def test_formatter_decides(house: House) -> None:
    assert house.fmt_skip <= 20


def test_types_are_said(house: House) -> None:
    assert house.any_words <= 175


def test_counts_of_a_tree_that_is_known(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "__init__.py": "",
            "top.py": "from . import low\nfrom .middle.part import x  # fmt: skip\n",
            "middle/part.py": "def x():\n    from ..low import y\n    import actgen.low\n",
            "middle/other.py": "from typing import Any\nfrom .part import x\n",
            "low.py": "import os\ny = 1\n",
            "cache/left.txt": "no code",
        },
    )
    (tmp_path / ".importlinter").write_text(
        "[importlinter:contract:a]\nlayers =\n    actgen.top\n    actgen.low\n", encoding="utf-8"
    )
    assert measure(tmp_path) == House(
        files=3, folders=1, rooms=4, floors=3, arrows=3, circles=0, contract=2, fmt_skip=1, any_words=1, lines=9
    )


def test_a_circle_is_found_and_is_one_floor(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": "from .b import x\n", "b.py": "from .c import x\n", "c.py": "import actgen.b\n"})
    house = measure(tmp_path)
    assert (house.circles, house.floors, house.arrows, house.contract) == (1, 2, 3, 0)


def test_commit_and_working_tree_stand_side_by_side() -> None:
    run = [sys.executable, str(ROOT / "tools" / "house.py")]
    if subprocess.run(["git", "rev-parse", "--verify", "HEAD"], cwd=ROOT, capture_output=True, check=False).returncode:
        pytest.skip("not a git checkout")
    head = subprocess.run([*run, "HEAD"], capture_output=True, text=True, check=True).stdout.splitlines()
    assert head[0].split() == ["HEAD", "working", "tree"]
    assert all(len(line.split()) == 3 for line in head[1:])
    refused = subprocess.run([*run, "no-such-commit"], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "Give a commit of this repository" in refused.stderr
