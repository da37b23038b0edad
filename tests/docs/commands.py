"""A command, looked at without running it: its options and recipe; make's targets, tests, scripts and what they are given."""

from __future__ import annotations

import argparse
import importlib.util
import re
import runpy
import shlex
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer

from actgen.cli.app import app
from actgen.cli.bench import ARMS
from actgen.experiment.config import build_recipe
from actgen.studies.bench.arms import find_arms, parse_arm, read_arms
from actgen.studies.bench.plan import Job, find_recipes, parse_budgets, parse_seeds, plan_jobs
from tests.docs.blocks import ROOT

RUN = ("actgen", "torchrun", "accelerate", "python")
CHECKED = {
    "make": "makes a .venv or runs all tests: the target is looked up",
    "pytest": "what it runs, runs anyway: files, markers, options and words of -k are looked up",
    "tensorboard": "serves until it is stopped: it is looked whether it is installed",
    "srun": "needs Slurm: the command in it is parsed",
    "export": "a variable of the shell",
    "pip": "needs the internet: the extra is looked up",
    "benchmarks": "minutes to hours: the script parses its arguments",
}
"""Of what is never run, why, and what is done instead."""
MINE = ("mine.toml", "RECIPE")
"""A reader's own recipe."""


def check(words: Sequence[str]) -> None:
    """Fail if a command is none that there is."""
    program, *arguments = words
    checks: dict[str, Callable[[list[str]], None]] = {
        "actgen": _actgen,
        "make": _make,
        "pytest": _pytest,
        "python": _python,
        "torchrun": _launcher,
        "accelerate": _launcher,
        "tensorboard": _tensorboard,
        "srun": _srun,
        "export": lambda _: None,
        "pip": _pip,
    }
    if program.startswith("--"):
        return _actgen(["train", *words])
    assert program in checks, f"nobody knows how to check {shlex.join(words)}"
    return checks[program](arguments)


def check_mention(text: str) -> None:
    """Fail if prose names a command, or an option of one, that there is not; what is said may be a part of a command."""
    try:
        words = shlex.split(text)
    except ValueError:
        return
    if len(words) < 2:
        return
    if words[0] == "actgen":
        command, rest = _find(words[1:])
        known = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
        for word in rest:
            if re.match(r"--\w", word):
                assert word.partition("=")[0] in known, f"{word} in `{text}`"
    elif words[0] in ("python", "pytest", "make", "pip"):
        check(words)


def _make(arguments: list[str]) -> None:
    assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE), arguments


def _pytest(arguments: list[str]) -> None:
    options = argparse.ArgumentParser(exit_on_error=False)
    for name in ("-m", "-k", "--kills"):
        options.add_argument(name)
    options.add_argument("places", nargs="*")
    given = options.parse_args(arguments)
    for place in given.places:
        assert ROOT.joinpath(place).exists(), place
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    if given.m:
        assert given.m in [marker.partition(":")[0] for marker in project["markers"]], given.m
    if given.kills:
        assert "--kills" in (ROOT / "tests" / "conftest.py").read_text(encoding="utf-8")
    if given.k:
        tests = "".join(ROOT.joinpath(place).read_text(encoding="utf-8") for place in given.places)
        assert re.search(rf"def test_\w*{given.k}", tests), given.k


def _python(arguments: list[str]) -> None:
    if arguments[0] == "-m":
        assert importlib.util.find_spec(arguments[1]), arguments
        return
    script = ROOT / arguments[0]
    assert script.is_file(), script
    if script.parent.name == "benchmarks":
        _parse_arguments(script, arguments[1:])


class _Parsed(Exception):
    """The arguments were those of the script."""


def _parse_arguments(script: Path, arguments: list[str]) -> None:
    """Run a script as far as its `parse_args`."""
    parse = argparse.ArgumentParser.parse_args

    def stop(*given: Any, **more: Any) -> None:
        parse(*given, **more)
        raise _Parsed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", stop)
        patch.setattr(sys, "argv", [str(script), *arguments])
        with pytest.raises(_Parsed):
            runpy.run_path(str(script), run_name="__main__")


def _launcher(arguments: list[str]) -> None:
    assert arguments[arguments.index("actgen") - 1] == "-m"
    _actgen(arguments[arguments.index("actgen") + 1 :])


def _tensorboard(_: list[str]) -> None:
    assert importlib.util.find_spec("tensorboard")


def _srun(arguments: list[str]) -> None:
    assert arguments[:2] == ["bash", "-c"]
    check(shlex.split(arguments[2]))


def _pip(arguments: list[str]) -> None:
    extra = re.fullmatch(r"(?:actgen|\.)(?:\[([\w,]+)\])?", arguments[1])
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert arguments[0] == "install"
    assert extra is not None, arguments
    assert not extra[1] or extras.keys() >= set(extra[1].split(",")), arguments


def _find(arguments: list[str]) -> tuple[Any, list[str]]:
    """Return the command that is called, and what is behind it."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        assert arguments, "which command of actgen"
        name, *arguments = arguments
        assert name in command.commands, f"there is no actgen {name}"
        command = command.commands[name]
    return command, arguments


def _actgen(arguments: list[str]) -> None:
    command, rest = _find(arguments)
    given: dict[str, Any] = dict(command.make_context(command.name, rest).params)
    recipe = None if str(given.get("recipe")) in MINE else given.get("recipe")
    if recipe is not None or (given.get("settings") and arguments[0] in ("train", "demo", "generate")):
        build_recipe(recipe, given["settings"] or [])
    if arguments[0] == "bench" and given["table"] is None and not set(given["recipes"]) & set(MINE):
        assert _plan(given)


def _plan(given: dict[str, Any]) -> list[Job]:
    files, names = find_recipes(given["recipes"]), (given["arms"] or ARMS).split(",")
    own = dict(parse_arm(text) for text in given["own"] or [])
    arms = {name: find_arms(names, {**read_arms(path), **own}) for name, path in files.items()}
    budgets = parse_budgets(given["budgets"]) if given["budgets"] else ()
    return plan_jobs(
        files, arms, parse_seeds(given["seeds"] or "0:5"), budgets, given["settings"] or [], given["evaluate"] or "test"
    )
