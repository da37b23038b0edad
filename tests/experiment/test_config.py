"""Laws of the recipe: complete, readable, and what is not in it is refused."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actgen.core.errors import UserError
from actgen.experiment.config import Recipe, build_recipe, to_toml
from actgen.generation.presets import PRESETS


def rejection(*settings: str, path: Path | None = None, flags: dict[str, Any] | None = None) -> str:
    with pytest.raises(UserError) as caught:
        build_recipe(path, settings, flags)
    assert len(str(caught.value).splitlines()) <= 2
    return str(caught.value)


@pytest.mark.parametrize("preset", PRESETS)
def test_written_and_read_it_is_the_same(tmp_path: Path, preset: str) -> None:
    recipe = build_recipe(settings=[f"generation.preset={preset}"])
    assert recipe.sampling == PRESETS[preset]
    path = tmp_path / "recipe.toml"
    path.write_text(to_toml(recipe), encoding="utf-8")
    assert build_recipe(path) == recipe


def test_changed_values_survive_the_round_trip(tmp_path: Path) -> None:
    settings = [
        "training.epochs=3",
        "sampling.image.offset=1e9",
        "sampling.text.both_branches=true",
        "generation.preset=code",
    ]
    recipe = build_recipe(settings=settings, flags={"data": 'folder "with" \\ quotes [x] é', "seed": 2**62})
    path = tmp_path / "recipe.toml"
    path.write_text(to_toml(recipe), encoding="utf-8")
    assert build_recipe(path) == recipe
    assert recipe != build_recipe()


def test_the_file_is_complete() -> None:
    def same_shape(written: Any, part: Any) -> None:
        for key, value in vars(part).items():
            if hasattr(value, "__dataclass_fields__"):
                same_shape(written[key], value)
            else:
                assert written[key] == (list(value) if isinstance(value, tuple) else value)
        assert set(written) == set(vars(part))

    recipe = build_recipe()
    same_shape(tomllib.loads(to_toml(recipe)), recipe)


def test_flags_win_over_settings_and_settings_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("seed = 1\n[training]\nepochs = 1\nbatch_size = 10\nwarmup = 0\n", encoding="utf-8")
    recipe = build_recipe(path, ["training.epochs=2", "training.batch_size=20"], {"training.epochs": 3, "seed": None})
    assert (recipe.seed, recipe.training.warmup) == (1, 0.0)
    assert (recipe.training.batch_size, recipe.training.epochs) == (20, 3)


def test_a_preset_is_where_drawing_starts_from() -> None:
    recipe = build_recipe(settings=["sampling.eta=0.5", "generation.preset=code"])
    assert recipe.sampling == replace(PRESETS["code"], eta=0.5)


def test_whole_numbers_may_stand_for_fractions_and_not_the_reverse() -> None:
    budget = build_recipe(settings=["generation.budget=1"]).generation.budget
    assert (budget, type(budget)) == (1.0, float)
    assert "training.epochs = 3.0 is not a whole number" in rejection("training.epochs=3.0")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("trainin.epochs=3", "Did you mean training?"),
        ("training.epoch=3", "Did you mean training.epochs?"),
        ("training.augment.flipp=true", "Did you mean training.augment.flip?"),
        ("zzz=1", "Allowed: data, generator"),
        ("training=3", "training = 3: it has parts"),
        ("generation=3", "generation"),
        ("training.epochs", "write it as a.b=value"),
        ("training.epochs=many", "training.epochs = 'many' is not a whole number"),
        ("training.epochs=true", "is not a whole number"),
        ("training.augment.flip=1", "training.augment.flip = 1 is not"),
        ("training.epochs.x=1", "training.epochs"),
        ("model.name=3", "model.name = 3"),
        ("training.epochs=0", "training.epochs = 0: allowed is 1 to"),
        ("seed=-1", "seed = -1: allowed is 0 to"),
        ("labels_per_class=1", "labels_per_class = 1: allowed is 2 to"),
        ("label_set=3", "label_set = 3 chooses nothing without labels_per_class"),
        ("training.epoch_length=long", "allowed: real, grow"),
        ("training.precision=half", "allowed: no, bf16, fp16, fp64"),
        ("training.optimizer=adamw", "write them as [training.optimizer] or training.optimizer.KEY=value"),
        ("training.optimizer.name=lion", "allowed: sgd, adamw"),
        ("training.loss.name=hinge", "allowed: cross-entropy, focal"),
        ("training.mixing.mixup=-1", "training.mixing.mixup = -1"),
        ("training.augment.magnitude=31", "allowed is 0 to 30"),
        ("training.warmup_epochs=28", "up to nine tenths"),
        ("generation.preset=best", "allowed: "),
        ("generation.preset=[1]", "generation.preset"),
        ("sampling.image.mask=round", "allowed: unit, cumulative, none"),
        ("sampling.previous=sideways", "sampling.previous"),
        ("sampling.eta=nan", "sampling.eta = nan: allowed is 0 to 1"),
        ("sampling.image.offset=nan", "sampling.image.offset = nan: allowed is -1,000,000,000 to 1,000,000,000"),
    ],
)
def test_what_cannot_be_is_refused(setting: str, words: str) -> None:
    assert words in rejection(setting)


def test_nan_is_refused_from_everywhere(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("[sampling.text]\nstep_size = nan\n", encoding="utf-8")
    assert "sampling.text.step_size = nan: allowed is 0 to 100" in rejection(path=path)
    assert "generation.budget = nan: allowed is 0 to 100" in rejection(flags={"generation.budget": float("nan")})


def test_ranges_hold_in_python_too() -> None:
    with pytest.raises(UserError, match="seed"):
        Recipe(seed=-1)


@pytest.mark.parametrize("text", [None, "training = [", "\x00", "seed = 1\nseed = 2\n"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "recipe.toml"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    assert str(path) in rejection(path=path)
