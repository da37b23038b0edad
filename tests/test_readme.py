"""The README tells the truth and stays short: its loop runs as printed; tests/docs run the rest."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.blocks import blocks
from tests.docs.commands import CHECKED, RUN
from tests.docs.small import smaller

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LINES, WIDTH = 180, 110


@pytest.mark.parametrize("images", [80, pytest.param(500, marks=pytest.mark.slow)], ids=["small", "as printed"])
def test_the_loop_runs(images: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(smaller(code) if images == 80 else code, "README.md", "exec"), {"__name__": "readme"})
    rows = (tmp_path / "runs/loop/store/metadata.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 0.3 * images


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= LINES


def test_no_code_and_no_table_is_wider_than_a_page() -> None:
    code = [line for block in blocks(README, {*RUN, *CHECKED}) if block.kind != "prose" for line in block.text.splitlines()]
    tables = [line for line in README.splitlines() if line.startswith("|")]
    assert code
    assert tables
    assert [line for line in (*code, *tables) if len(line) > WIDTH - 4] == []  # a block's indent


def test_the_two_commands_that_do_all_the_set_up_are_there() -> None:
    commands = [line.split("#")[0].split() for line in README.splitlines() if line.startswith("    ")]
    assert ["make", "demo"] in commands
    assert ["make", "test"] in commands
    assert ["pip", "install", "."] in commands
