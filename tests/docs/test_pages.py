"""What the pages show is run: Python as printed, commands with small values (small.py), data read.

A block that is neither run nor marked with a reason fails, so a new page is covered by itself.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from actgen.core.types import HardExample, Progress, Source
from tests.docs.blocks import ROOT, Block, blocks, commands, mentions, pages
from tests.docs.commands import CHECKED, RUN, check, check_mention
from tests.docs.running import refuse_unknown, run_block
from tests.docs.small import run

PAGES = pages()
SLOW = {
    "README",
    "docs/background",
    "docs/controls",
    "docs/explanation/which-strategy",
    "docs/finetune",
    "docs/probe",
    "docs/processes",
    "docs/strategies",
    "docs/training",
    "docs/tutorials/first-run",
    "docs/tutorials/own-folder",
    "docs/tutorials/own-generator",
    "docs/tutorials/paper",
    "docs/tutorials/reading-a-report",
    "docs/tutorials/several-gpus",
}
"""Pages of many runs, or of several processes; the others take seconds."""
READERS: dict[str, Callable[[str], Any]] = {"toml": tomllib.loads, "json": json.loads, "yaml": yaml.safe_load}


def read(name: str) -> list[Block]:
    return list(blocks(PAGES[name].read_text(encoding="utf-8"), {*RUN, *CHECKED}))


@pytest.mark.parametrize("name", PAGES)
def test_every_block_is_known_and_every_command_is_one_that_there_is(name: str) -> None:
    for block in read(name):
        refuse_unknown(block)
        if block.kind == "python":
            compile(block.text, name, "exec")
        elif block.kind in READERS:
            READERS[block.kind](block.text)
        elif block.kind == "commands":
            for words in commands(block.text):
                check(words)
        elif block.kind == "prose":
            for text in mentions(block.text):
                check_mention(text)


def paced(name: str) -> Any:
    return pytest.param(name, marks=[pytest.mark.slow, pytest.mark.timeout(1200)] if name in SLOW else ())


@pytest.mark.parametrize("name", [paced(name) for name in PAGES if any(block.runs for block in read(name))])
def test_what_a_page_shows_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {"__name__": name}
    for block in read(name):
        if block.runs:
            run_block(block, name, scope)


def test_a_strategy_of_your_own_plans() -> None:
    scope: dict[str, Any] = {"__name__": "strategies"}
    for block in read("docs/strategies"):
        if block.kind == "python":
            exec(compile(block.text, "strategies.md", "exec"), scope)
    names, pool = ["zero", "one"], Source(split="train", index=0, key="train/0")
    hard_example = HardExample(source=pool, label=1, predicted=0, loss=1.0, probability=0.3)
    requests = scope["NearMisses"]().plan([hard_example], names, 3, Progress(epoch=0, epochs=2), 0)
    assert [request.class_name for request in requests] == ["one"] * 3


EXAMPLES = [
    text
    for name in PAGES
    for block in read(name)
    if block.kind == "prose"
    for text in mentions(block.text)
    if text.startswith("python examples/")
]


@pytest.mark.slow
@pytest.mark.filterwarnings(  # Lightning's, and torch's on a single core
    "ignore:.*LeafSpec.*", "ignore:.*does not have many workers.*", "ignore:This DataLoader will create 2 worker"
)
@pytest.mark.parametrize("command", EXAMPLES)
def test_an_example_runs_as_a_page_starts_it(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (words,) = commands(command)
    run(words)
    assert (tmp_path / words[-1] / "store" / "metadata.jsonl").is_file()


def test_every_example_is_on_a_page() -> None:
    assert {command.split()[1] for command in EXAMPLES} == {f"examples/{path.name}" for path in ROOT.glob("examples/*.py")}


def test_slow_pages_are_pages() -> None:
    assert PAGES.keys() >= SLOW
    assert ROOT.joinpath("README.md") in PAGES.values()
