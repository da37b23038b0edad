"""The configuration reference, the JSON schema and the words of --help say what the fields of the options say."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from tools.configuration import HELPED, PAGE, written
from typer.testing import CliRunner

from actgen.cli.app import app
from actgen.cli.flags import HELP
from actgen.experiment.config import Recipe, flat, to_toml


@pytest.mark.parametrize("path", written(), ids=lambda path: path.name)
def test_what_is_committed_is_what_the_fields_say(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == written()[path], "run: python tools/configuration.py"


def test_every_key_of_a_recipe_is_in_the_reference() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for key in flat(tomllib.loads(to_toml(Recipe()))):
        section, _, name = key.rpartition(".")
        _, _, after = page.partition(f"## `[{section}]`\n" if section else "## At the top\n")
        assert f"\n| `{name}` |" in after.partition("\n## ")[0], key


def test_help_says_what_is_allowed_and_what_the_default_is() -> None:
    shown = " ".join(CliRunner().invoke(app, ["train", "--help"], env={"COLUMNS": "400"}).output.split())
    assert "Passes over the real images. (1 to 1,000,000; the recipe's, else 30)" in shown
    for key in HELPED:
        assert HELP[key] in shown
    adapt = " ".join(CliRunner().invoke(app, ["finetune", "--help"], env={"COLUMNS": "400"}).output.split())
    assert "Rank of the LoRA. (1 to 4096; 8 if not given)" in adapt


def test_the_schema_is_json_and_closed() -> None:
    schema = json.loads((PAGE.parent / "recipe.schema.json").read_text(encoding="utf-8"))
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["ImageGuidance"]["properties"]["strength"]["maximum"] == 1
