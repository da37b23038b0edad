"""A small real probe: digits, a generator that generates blots, a tiny classifier."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from actgen.cli.app import app

FAST = (
    "--model",
    "actgen/tiny-cnn",
    "--set",
    "training.epochs=2",
    "--set",
    "sampling.num_inference_steps=2",
    "--set",
    "generation.preset=tiny",
)
PROMPTS = '[classes]\nzero = "a picture of {one}"\none = "a picture of {zero}"\n'


def command(data: Path | str, generators: Sequence[Path | str], out: Path, *more: str, count: int = 8) -> list[str]:
    given = [part for each in generators for part in ("--generator", str(each))]
    return ["probe", "--data", str(data), *given, "--count", str(count), "--out", str(out), *FAST, *more]


def call(arguments: Sequence[str]) -> str:
    """Return the output of a command that must succeed."""
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def measured(out: Path) -> dict[str, dict[str, Any]]:
    """Return the measures in probe.json by name, without seconds, which differ from call to call."""
    rows = json.loads((out / "probe.json").read_text(encoding="utf-8"))["measured"]
    return {row["name"]: {**row["measures"], "seconds": None} for row in rows}


@pytest.fixture(scope="session")
def generators(tiny_generator: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The generator as it is, with guidance, and with the prompts of two classes exchanged."""
    prompts = tmp_path_factory.mktemp("prompts") / "prompts.toml"
    prompts.write_text(PROMPTS, encoding="utf-8")
    return [str(tiny_generator), f"{tiny_generator}:sampling.guidance_scale=2", f"{tiny_generator}:prompts={prompts}"]


@pytest.fixture(scope="session")
def probed(digits: Path, generators: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a probe that ran to its end."""
    out = tmp_path_factory.mktemp("probe") / "whole"
    output = call(command(digits, generators, out, "--train"))
    assert "try " in output
    return out
