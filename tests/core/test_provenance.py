"""Where a result comes from: the commit is git's own, and a recipe's hash is that of its settings alone."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import actgen
from actgen.core.machine import machine
from actgen.core.provenance import DIRTY, recipe_hash, source_commit
from actgen.experiment.config import Recipe, flat


def test_the_commit_is_that_of_the_checkout() -> None:
    package = Path(actgen.__file__).parent
    tracked = subprocess.run(
        ["git", "-C", package, "ls-files", "--error-unmatch", "__init__.py"], capture_output=True, check=False
    )
    if tracked.returncode:
        pytest.skip("the package is in no checkout")
    head = subprocess.run(
        ["git", "-C", package, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert source_commit().removesuffix(DIRTY) == head


def test_a_hash_does_not_hang_on_the_order_and_hangs_on_every_value() -> None:
    settings = flat(Recipe())
    assert recipe_hash(dict(reversed(settings.items()))) == recipe_hash(settings)
    assert recipe_hash(settings | {"seed": 1}) != recipe_hash(settings)


def test_a_machine_has_no_name() -> None:
    found = machine()
    assert found.keys() == {"cpu", "cores", "threads"}
    assert found["cpu"]
    cores = found["cores"]
    assert isinstance(cores, int)
    assert cores >= 1
