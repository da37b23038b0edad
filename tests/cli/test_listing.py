"""`actgen list` and `actgen env`: every name that other options take, and what a report of a fault needs."""

from __future__ import annotations

import json

import pytest

from actgen.cli.listing import KINDS
from actgen.core.assets import shipped_recipes
from actgen.experiment.config import build_recipe
from actgen.generation.strategies import STRATEGIES
from tests.conftest import Refuse
from tests.support.command_line import run


@pytest.mark.parametrize("kind", KINDS)
def test_names_as_text_are_those_as_json(kind: str) -> None:
    names = json.loads(run("list", kind, "--json").stdout)
    assert len(names) > 2
    assert [line.split()[0] for line in run("list", kind).stdout.splitlines()] == list(names)


def test_what_is_listed_can_be_given() -> None:
    assert list(json.loads(run("list", "strategies", "--json").stdout)) == list(STRATEGIES)
    assert list(json.loads(run("list", "recipes", "--json").stdout)) == shipped_recipes()
    for preset in json.loads(run("list", "presets", "--json").stdout):
        assert build_recipe(None, [f"generation.preset={preset}"], {}).sampling


def test_a_part_of_a_name_finds_it() -> None:
    found = json.loads(run("list", "models", "resnet18", "--json").stdout)
    assert "resnet18" in found
    assert all("resnet18" in name for name in found)
    assert run("list", "models", "nothing-is-called-so").stdout == ""


def test_an_unknown_kind_is_refused(refuse: Refuse) -> None:
    assert "allowed: strategies, recipes, presets, filters, models" in refuse("list", "colours")


def test_the_environment_names_versions_and_the_source() -> None:
    facts = json.loads(run("env", "--json").stdout)
    assert {"actgen", "source", "python", "system", "cpu", "gpus", "torch", "diffusers"} <= set(facts)
    assert facts["torch"] in run("env").stdout
