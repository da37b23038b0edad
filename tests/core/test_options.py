"""Options are refused at the field, with the same words from Python, a recipe, --set and a flag."""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, asdict, replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from actgen.core.errors import UserError
from actgen.core.options import Option, describe, fill, json_schema, section_of
from actgen.diffusion.denoising import ClassifierFreeGuidance
from actgen.diffusion.guides.image import ImageGuidance
from actgen.experiment.config import Recipe, build_recipe
from actgen.finetune.optimise import Schedule
from actgen.finetune.options import AdaptOptions, LoraOptions
from actgen.finetune.scratch import ScratchConfig
from actgen.generation.presets import PRESETS, SamplingConfig
from actgen.training.options import TrainingOptions

Field = tuple[type, Option]


def classes_of(options_class: type) -> Iterator[type]:
    """The class and, in depth, those of its parts."""
    yield options_class
    for option in describe(options_class):
        if option.part is not None:
            yield from classes_of(option.part)


OF_RECIPES = tuple(classes_of(Recipe))
OTHERS = (ClassifierFreeGuidance, AdaptOptions, LoraOptions, ScratchConfig, Schedule)
NEEDED: dict[type, dict[str, Any]] = {Schedule: {"steps": 1, "batch_size": 1, "learning_rate": 1e-3}}
BESIDE: dict[str, dict[str, Any]] = {
    "momentum": {"nesterov": False},
    "label_set": {"labels_per_class": 2},
    "drop_path": {"name": "resnet18"},
    "dropout": {"name": "resnet18"},
}
"""What goes with a value that cannot stand alone."""
UNREACHED = ("band_start = 1", "band_stop = 0", "min_confidence = 1", "max_confidence = 0", "warmup_epochs = 1e+06")
"""Ends of ranges that another field forbids."""
FIELDS = [(one, option) for one in (*OF_RECIPES, *OTHERS) for option in describe(one)]


def named(field: Field) -> str:
    return f"{field[0].__name__}.{field[1].name}"


def is_limited(field: Field) -> bool:
    return field[1].kind in ("number", "whole number") or bool(field[1].choices)


def wrong_values(option: Option) -> list[Any]:
    """Values that a field must not have: of another type, beside its range, none of its choices."""
    if option.choices:
        return ["none-of-them", 3]
    if option.kind == "text":
        return [3, True, "half a pair \ud800"]
    if option.kind == "true or false":
        return [1, "yes"]
    if option.kind == "table":
        return [3, {"coat": 3}]
    if option.kind == "table of lists":
        return [3, {"coat": "red"}]
    if option.kind == "list":
        return ["a {}", [3]]
    if option.kind == "part":
        return [3, "text"]
    assert option.low is not None
    assert option.high is not None
    below = option.low if option.above else option.low - 1
    return ["text", True, math.nan, math.inf, below, option.high * 2 + 1 if option.kind == "number" else int(option.high) + 1]


def rejection(options_class: type, **given: Any) -> str:
    with pytest.raises(UserError) as caught:
        options_class(**NEEDED.get(options_class, {}) | given)
    return str(caught.value)


@pytest.mark.parametrize("field", FIELDS, ids=named)
def test_every_field_refuses_what_it_cannot_be_by_its_name(field: Field) -> None:
    options_class, option = field
    for value in wrong_values(option):
        words = rejection(options_class, **{option.name: value})
        assert section_of(options_class) + option.name.replace("_", "-" if section_of(options_class) == "--" else "_") in words


@pytest.mark.parametrize("field", [one for one in FIELDS if is_limited(one)], ids=named)
def test_every_number_has_a_range_and_every_choice_its_choices(field: Field) -> None:
    options_class, option = field
    assert option.choices or (option.low is not None and option.high is not None)
    assert option.allowed in rejection(options_class, **{option.name: wrong_values(option)[0 if option.choices else -1]})
    assert option.text, "a field is explained where it stands"


@pytest.mark.parametrize("field", [one for one in FIELDS if one[0] in OF_RECIPES], ids=named)
def test_a_recipe_and_set_refuse_it_with_the_words_of_the_class(field: Field, tmp_path: Path) -> None:
    options_class, option = field
    key = section_of(options_class) + option.name
    for value in wrong_values(option):
        if (isinstance(value, str) and "\ud800" in value) or (key == "prompts" and value == "text"):
            continue  # no file holds it; a text there is the name of a file
        words = rejection(options_class, **{option.name: value})
        tree: Any = value
        for part in reversed(key.split(".")):
            tree = {part: tree}
        path = tmp_path / "recipe.toml"
        path.write_text(tomli_w.dumps(tree), encoding="utf-8")
        with pytest.raises(UserError) as from_file:
            build_recipe(path)
        setting = {f"{key}.coat": value["coat"]} if isinstance(value, dict) else {key: value}
        with pytest.raises(UserError) as from_setting:
            build_recipe(None, [f"{name}={tomli_w.dumps({'v': one})[4:].strip()}" for name, one in setting.items()])
        assert str(from_file.value) == str(from_setting.value) == words


@pytest.mark.parametrize("field", [one for one in FIELDS if one[1].kind in ("number", "whole number")], ids=named)
def test_the_ends_of_a_range_are_allowed(field: Field) -> None:
    options_class, option = field
    for value in (option.low, option.high):
        if value is None or (option.above and value == option.low):
            continue
        given = int(value) if option.kind == "whole number" else value
        if f"{option.name} = {given:g}" in UNREACHED:
            continue
        beside = BESIDE.get(option.name, {})
        made = options_class(**NEEDED.get(options_class, {}) | {option.name: given} | beside)
        assert getattr(made, option.name) == given


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ImageGuidance(strength=5.0), "sampling.image.strength = 5.0: allowed is 0 to 1."),
        (
            lambda: SamplingConfig(num_inference_steps=0, guidance_scale=-3),
            "sampling.num_inference_steps = 0: allowed is 1 to 1000.",
        ),
        (lambda: TrainingOptions(epochs=-1, precision="banana"), "training.epochs = -1: allowed is 1 to 1,000,000."),
        (
            lambda: TrainingOptions(precision="banana"),
            "training.precision = 'banana' is unknown; allowed: no, bf16, fp16, fp64.",
        ),
        (lambda: replace(TrainingOptions(), epochs=0), "training.epochs = 0: allowed is 1 to 1,000,000."),
        (lambda: TrainingOptions(epoch=1), "unknown key training.epoch. Did you mean training.epochs?"),  # type: ignore[call-arg]
        (lambda: LoraOptions(rank=0), "--rank 0: allowed is 1 to 4096."),
    ],
)
def test_python_is_refused_with_the_words_of_a_recipe(make: Any, words: str) -> None:
    with pytest.raises(UserError) as caught:
        make()
    assert str(caught.value) == words


@pytest.mark.parametrize("options_class", [*OF_RECIPES, *OTHERS], ids=lambda one: one.__name__)
def test_options_are_frozen_and_named_and_come_back_from_pickle_and_replace(options_class: type) -> None:
    made = options_class(**NEEDED.get(options_class, {}))
    assert pickle.loads(pickle.dumps(made)) == made == replace(made)
    name = next(describe(options_class)).name
    with pytest.raises(FrozenInstanceError):
        setattr(made, name, 1)
    with pytest.raises(TypeError):
        options_class(1)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_tree_of_options_fills_the_same_options_again(preset: str) -> None:
    assert fill(SamplingConfig(), asdict(PRESETS[preset])) == PRESETS[preset]


def test_the_json_schema_says_what_the_fields_say() -> None:
    schema: Any = json_schema(Recipe)
    training = schema["$defs"]["TrainingOptions"]["properties"]
    assert training["epochs"] == {
        "default": 30,
        "description": "Passes over the real images.",
        "maximum": 10**6,
        "minimum": 1,
        "title": "Epochs",
        "type": "integer",
    }
    assert training["precision"]["enum"] == ["no", "bf16", "fp16", "fp64"]
    assert set(schema["properties"]) == {option.name for option in describe(Recipe)}
