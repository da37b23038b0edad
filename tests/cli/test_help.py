"""Help in narrow and wide terminals: no name is cut, every default of a recipe is there, and an example."""

from __future__ import annotations

import re

import pytest
import typer
from typer.testing import CliRunner

from actgen.cli.app import app

COMMANDS = ["demo", "train", "generate", "report", "bench", "probe", "finetune", "list", "env"]
COMMANDS += [f"store {name}" for name in ("verify", "merge", "leaks", "export")]
FRAME = re.compile(r"[│╭╮╰╯─]")


def command_of(name: str) -> typer.core.TyperCommand:
    found = typer.main.get_command(app)
    for part in name.split():
        found = found.commands[part]  # type: ignore[attr-defined]
    return found  # type: ignore[return-value]


def shown(name: str, width: int, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", width)
    result = CliRunner().invoke(app, [*name.split(), "-h"], terminal_width=width)
    assert result.exit_code == 0
    return result.output


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("name", COMMANDS)
def test_no_name_of_an_option_is_cut(name: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(name, width, monkeypatch)
    for parameter in command_of(name).params:
        for option in (*parameter.opts, *parameter.secondary_opts):
            if option.startswith("-"):
                assert re.search(rf"(?<![\w-]){option}(?![\w-])", text), option


@pytest.mark.parametrize("name", COMMANDS)
def test_every_default_is_there_at_any_width(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = [" ".join(FRAME.sub(" ", shown(name, width, monkeypatch)).split()) for width in (80, 120)]
    for parameter in command_of(name).params:
        if isinstance(parameter.default, int | float | str) and not isinstance(parameter.default, bool):
            assert all(str(parameter.default) in text for text in wide), parameter.name
