"""A guide, a strategy, a filter and a reader from outside the package, one file each, do a whole run together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from actgen.core.errors import UserError
from actgen.data.datasets.imageset import fit_square
from actgen.data.datasets.sources import READERS, load_data, register_reader
from actgen.data.store.store import MANIFEST
from actgen.diffusion.guides import GUIDES, register_guide
from actgen.experiment.config import Recipe
from actgen.experiment.run import run
from actgen.generation.filters import REGISTERED, open_chain, register_filter
from actgen.generation.filters.options import Filters
from actgen.generation.strategies import STRATEGIES, register_strategy
from tests.conftest import read_lines
from tests.support.dropped_in.filter import OnlyEven
from tests.support.dropped_in.guide import Shift
from tests.support.dropped_in.reader import ARCHIVE
from tests.support.dropped_in.strategy import ByTurns

BUDGET = 12  # a tenth of the 120 digits


@pytest.fixture(autouse=True)
def guide() -> Iterator[Shift]:
    """Register all four, and take them out again."""
    register_guide(guide := Shift())
    register_strategy(ByTurns)
    register_filter(OnlyEven.name, OnlyEven)
    register_reader("npz", ARCHIVE)
    yield guide
    del GUIDES["shift"], STRATEGIES["by-turns"], REGISTERED["only-even"], READERS["npz"]


@pytest.fixture
def archive(digits: Path, tmp_path: Path) -> str:
    """Write the digits as the foreign format; the data spec of it."""
    real = load_data(str(digits)).train
    pixels = np.stack([np.asarray(fit_square(real.image(n), 32)) for n in range(len(real.keys))])
    (folder := tmp_path / "foreign").mkdir()
    np.savez(folder / "images.npz", pixels=pixels, labels=np.array(real.labels), names=np.array(real.class_names))
    return f"npz:{folder}"


def test_they_do_a_run_together(recipe: Recipe, archive: str, guide: Shift, tmp_path: Path) -> None:
    mine = replace(
        recipe,
        data=archive,
        strategy="by-turns",
        generation=replace(recipe.generation, budget=0.1, holdout=0.2, previews=0),
        sampling=replace(recipe.sampling, num_inference_steps=2),
        model=replace(recipe.model, name="actgen/small-cnn"),
        filters=replace(recipe.filters, emptiness=0.0, retries=0, leakage=False),
    )
    summary = run(mine, out := tmp_path / "run", page=False)
    rows = read_lines(out / "store" / MANIFEST)
    rejected = read_lines(out / "rejected.jsonl")
    assert summary["synthetic_images"] == len(rows)
    assert 0 < len(rows) <= BUDGET
    assert rejected
    assert all(row["filter"] == "only-even" and int(row["key"][-1]) % 2 == 1 for row in rejected)
    assert all(row["strategy"] == "by-turns" and row["guides"] == ["shift"] for row in rows)
    assert all(int(row["key"][-1]) % 2 == 0 and row["label"] == row["round"] % 4 for row in rows)
    assert guide.bound > 0


def test_a_name_is_given_once(archive: str) -> None:
    with pytest.raises(UserError, match="a strategy called by-turns already"):
        register_strategy(ByTurns)
    for name in (OnlyEven.name, "sharpness", "clip"):
        with pytest.raises(UserError, match=f"a filter called {name} already"):
            register_filter(name, OnlyEven)
    for prefix in ("npz", "idx", "hf"):
        with pytest.raises(UserError, match=f"a reader called {prefix} already"):
            register_reader(prefix, ARCHIVE)
    for prefix in ("C", "my data", ""):
        with pytest.raises(UserError, match="cannot be a prefix"):
            register_reader(prefix, ARCHIVE)


def test_a_filter_goes_by_the_name_it_was_registered_under(archive: str) -> None:
    real = load_data(archive).train
    assert open_chain(Filters(), real, None).names == ["emptiness", "only-even"]
    register_filter("other", OnlyEven)
    try:
        with pytest.raises(UserError, match="registered as other calls itself only-even"):
            open_chain(Filters(), real, None)
    finally:
        del REGISTERED["other"]


def test_a_folder_that_a_reader_cannot_find_is_refused_with_its_layout(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"npz:DIR holds images\.npz"):
        load_data(f"npz:{tmp_path / 'nowhere'}")
