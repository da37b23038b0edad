"""Laws of store, recipe and seeding over whatever hypothesis finds."""

from __future__ import annotations

import tempfile
import tomllib
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from actgen.core.options import fill
from actgen.core.rng import derive, permutation
from actgen.data.store.store import Store
from actgen.data.store.verify import verify
from actgen.experiment.config import Recipe, build_recipe, to_toml
from actgen.generation.strategies import STRATEGIES
from tests.conftest import make_sample

quick = settings(max_examples=30, deadline=None, derandomize=True)
STEPS = st.lists(
    st.one_of(st.integers(0, 40).map(lambda n: ("add", n)), st.integers(0, 40).map(lambda n: ("keep", n))), max_size=12
)


@quick
@given(STEPS)
def test_a_store_holds_what_was_added_and_kept_however_often_it_is_opened(steps: list[tuple[str, int]]) -> None:
    expected: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for step, number in steps:
            store = Store(Path(folder) / "store")
            assert [row["key"] for row in store.snapshot().rows] == expected
            if step == "add":
                store.add(make_sample(f"k{number}", shade=number), {})
                expected += [] if f"k{number}" in expected else [f"k{number}"]
            elif number <= len(expected):
                store.keep(number)
                expected = expected[:number]
        if expected:
            verdict = verify(Path(folder) / "store")
            assert (verdict.damage, verdict.images) == ([], len(expected))


@quick
@given(
    st.fixed_dictionaries(
        {
            "seed": st.integers(0, 2**62),
            "strategy": st.sampled_from(sorted(STRATEGIES)),
            "training.epochs": st.integers(1, 10**6),
            "training.learning_rate": st.floats(1e-12, 1e3),
            "training.label_smoothing": st.floats(0, 0.99),
            "generation.budget": st.floats(0, 100),
            "mining.share": st.floats(0, 1),
            "filters.retries": st.integers(0, 5),
            "data": st.text(min_size=1, max_size=40),
        }
    )
)
def test_a_recipe_comes_back_from_its_toml(flags: dict[str, Any]) -> None:
    flags["data"] = "d" + "".join(letter for letter in flags["data"] if letter.isprintable())
    recipe = build_recipe(flags=flags)
    assert fill(Recipe(), tomllib.loads(to_toml(recipe))) == recipe


@quick
@given(st.integers(0, 2**62), st.lists(st.one_of(st.integers(), st.text()), max_size=4))
def test_seeds_are_functions_of_their_keys_and_of_nothing_else(seed: int, key: list[int | str]) -> None:
    assert derive(seed, *key) == derive(seed, *key) < 2**63
    assert derive(seed, *key) != derive(seed, *key, "")
    assert derive(seed, *key) != derive(seed + 1, *key)


@quick
@given(st.integers(0, 200), st.integers(0, 2**62))
def test_a_permutation_holds_every_number_once(count: int, seed: int) -> None:
    assert sorted(permutation(count, seed, "p")) == list(range(count))
