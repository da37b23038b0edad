"""A small real bench: digits, a generator that generates blots, two seeds of three arms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from actgen.cli.app import app

RECIPE = """\
data = "{data}"
generator = "{generator}"
[training]
epochs = 2
batch_size = 32
[generation]
budget = 0.1
preset = "tiny"
[sampling]
num_inference_steps = 2
"""
ARMS = ("none", "text-only", "actgen")


@pytest.fixture(scope="session")
def bench_recipe(digits: Path, tiny_generator: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipes") / "digits.toml"
    path.write_text(RECIPE.format(data=digits, generator=tiny_generator), encoding="utf-8")
    return path


def command(recipe: Path, out: Path, *more: str, arms: Sequence[str] = ARMS, seeds: str = "0:2") -> list[str]:
    return ["bench", str(recipe), "--seeds", seeds, "--arms", ",".join(arms), "--out", str(out), "--processes", "2", *more]


def call(arguments: Sequence[str]) -> tuple[int, str]:
    """Return exit code and output of a command that must not raise."""
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    return result.exit_code, result.output


@pytest.fixture(scope="session")
def benched(bench_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a bench that ran to its end."""
    out = tmp_path_factory.mktemp("bench") / "whole"
    code, output = call(command(bench_recipe, out))
    assert code == 0, output
    assert "| `actgen` | 0.1 | 2 |" in output
    return out
