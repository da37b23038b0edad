"""What tutorials, and the pages of tracking and export, show is run: Python as printed, commands with the small values below.

An indented block is commands, ```python is Python; other fences show. A comment `<!-- parsed: WHY -->` before a block has it
parsed only.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from actgen.bench.arms import find_arms, read_arms
from actgen.bench.plan import Job, find_recipes, parse_budgets, parse_seeds, plan_jobs
from actgen.cli import app
from actgen.data.store import Store
from actgen.recipe import build_recipe
from actgen.records import Mistake, Progress, Source
from tests.conftest import make_sample, write_digits

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SLOW = {"first-run", "own-folder", "own-generator", "reading-a-report", "tracking"}  # many runs; the others take seconds
TINY = ["--set=model.name=actgen/tiny-cnn", "--set=training.batch_size=32", "--set=images=80", "--set=training.test_every=9",
        "--set=drawing.num_inference_steps=2", "--set=training.epochs=2", "--set=filters.redraw=0"]  # fmt: skip
SMALL = {
    "train": [*TINY, "--model=actgen/tiny-cnn", "--epochs=2", "--set=evaluation.on=validation"], "demo": TINY,
    "finetune": ["--steps=2", "--autoencoder-steps=2", "--images=40"], "generate": [],
}  # fmt: skip
"""What is put behind a command; of an option that is given twice, the last counts."""
SMALL_PYTHON = {"actgen/small-cnn": "actgen/tiny-cnn", "epochs, snapshot = 4": "epochs, snapshot = 2", "budget=20": "budget=3",
                "fraction=0.1": "fraction=0.9"}  # fmt: skip
"""What is put in the place of a text in Python, wherever it is found."""
MINE = (Path("mine.toml"), Path("RECIPE"))
"""A reader's own recipe."""
PROGRAMS = ("actgen", "make", "pytest", "tensorboard", "torchrun", "accelerate")


@dataclass(frozen=True)
class Block:
    """What a page shows: "python" or "commands", whether it is only parsed."""

    kind: str
    text: str
    parsed: bool


def blocks(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page in their order."""
    parts = re.finditer(
        r"^```(?P<fence>\w+)\n(?P<inside>.*?)^```$|(?<=\n\n)(?P<indented> {4}\S[^\n]*\n(?: {4} *\S[^\n]*\n)*)"
        r"|<!-- (?P<mark>\w+): [^>]* -->\n",
        page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE,
    )  # fmt: skip
    parsed = False
    for part in parts:
        if part["mark"] is not None:
            assert part["mark"] == "parsed"
            parsed = True
            continue
        if part["indented"] is not None:
            yield Block("commands", part["indented"], parsed)
        elif part["fence"] == "python":
            yield Block("python", part["inside"], parsed)
        parsed = False


def commands(block: Block, *, only: bool = False) -> Iterator[list[str]]:
    """Yield the words of every command, without the variables before it; `only` of lines that begin with one of ours."""
    for line in block.text.replace("\\\n", " ").splitlines():
        if only and line.split()[0] not in PROGRAMS:
            continue
        words = shlex.split(line, comments=True)
        while "=" in words[0]:
            words.pop(0)
        assert words[0] in PROGRAMS, line
        yield words


PAGES = {path.stem: path for path in (*sorted((DOCS / "tutorials").glob("*.md")), DOCS / "tracking.md", DOCS / "export.md")}


@pytest.mark.parametrize("path", sorted(DOCS.rglob("*.md")), ids=lambda path: path.stem)
def test_every_command_is_one_that_there_is(path: Path) -> None:
    for block in blocks(path):
        if block.kind == "python":
            compile(block.text, str(path), "exec")
        for words in commands(block, only=path not in PAGES.values()) if block.kind == "commands" else ():
            parse(words)


def test_a_strategy_of_your_own_plans() -> None:
    scope: dict[str, Any] = {"__name__": "strategies"}
    for block in blocks(DOCS / "strategies.md"):
        if block.kind == "python":
            exec(compile(block.text, "strategies.md", "exec"), scope)
    names, pool = ["zero", "one"], Source(split="train", index=0, key="train/0")
    mistake = Mistake(source=pool, label=1, predicted=0, loss=1.0, probability=0.3)
    requests = scope["NearMisses"]().plan([mistake], names, 3, Progress(epoch=0, epochs=2), 0)
    assert [request.class_name for request in requests] == ["one"] * 3


def parse(words: list[str]) -> None:
    """Check a command without running it: options, recipes, settings, make's targets, files of tests."""
    program, *arguments = words
    if program == "make":
        assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    elif program == "pytest":
        assert (ROOT / arguments[0]).is_file()
    elif program in ("torchrun", "accelerate"):
        parse(arguments[arguments.index("actgen") :])
    elif program == "actgen":
        given = parse_actgen(arguments)
        if given.get("settings") is not None and arguments[0] in ("train", "demo", "generate"):
            build_recipe(None if given.get("recipe") in MINE else given.get("recipe"), given["settings"])
        if given.get("recipe") is not None and given["recipe"] not in MINE:
            build_recipe(given["recipe"])
        if arguments[0] == "bench" and given["table"] is None:
            assert plan(given)


def plan(given: dict[str, Any]) -> list[Job]:
    files, names = find_recipes(given["recipes"]), given["arms"].split(",")
    arms = {name: find_arms(names, read_arms(path)) for name, path in files.items()}
    budgets = parse_budgets(given["budgets"]) if given["budgets"] else ()
    return plan_jobs(files, arms, parse_seeds(given["seeds"]), budgets, given["settings"] or [], given["evaluate"])


def parse_actgen(arguments: list[str]) -> dict[str, Any]:
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        name, *arguments = arguments
        command = command.commands[name]
    return dict(command.make_context(command.name, arguments).params)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `my_photos` and a store of them, as a reader may have them."""
    root = tmp_path_factory.mktemp("tutorials")
    write_digits(root / "my_photos", "train", 0, 20)
    write_digits(root / "my_photos", "test", 20, 24)
    Store(root / "runs" / "mine" / "store").add(make_sample("r000-00000", label=1, class_name="three"), {})
    return root


def paced(name: str) -> Any:
    return pytest.param(name, marks=pytest.mark.slow if name in SLOW else ())


@pytest.mark.parametrize("name", [paced(name) for name in PAGES])
def test_what_a_page_shows_runs(name: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {"__name__": name}
    for block in blocks(PAGES[name]):
        if block.parsed:
            continue
        if block.kind == "python":
            exec(compile(smaller(block.text), str(PAGES[name]), "exec"), scope)
        else:
            for words in commands(block):
                run(words)


def smaller(code: str) -> str:
    for shown, small in SMALL_PYTHON.items():
        code = code.replace(shown, small)
    return code


def run(words: list[str]) -> None:
    if words[0] != "actgen":
        return parse(words)
    result = CliRunner().invoke(app, [*words[1:], *SMALL.get(words[1], [])], catch_exceptions=False)
    assert result.exit_code == 0, f"{shlex.join(words)}\n{result.output}"
    return None
