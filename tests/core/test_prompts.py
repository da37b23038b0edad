"""Laws of what the generator is told of a class."""

from __future__ import annotations

from pathlib import Path

import pytest

from actgen.core.errors import UserError
from actgen.core.prompts import Prompts, worded
from actgen.core.types import Progress
from actgen.experiment.config import build_recipe, to_toml
from actgen.generation.strategies.text_only import TextOnly

NAMES = ("ankle_boot", "crane", "crane bird")
CHOSEN = Prompts(
    template="a blurry photo of {}", classes={"crane": "a photo of a {harbour crane} at work", "crane bird": "a {}, flying"}
)


def test_unless_changed_the_prompt_is_the_usual_one() -> None:
    assert Prompts().names(NAMES) == NAMES
    assert list(Prompts().of(NAMES).values()) == ["a photo of ankle boot", "a photo of crane", "a photo of crane bird"]


def test_templates_of_classes_and_words_in_their_braces() -> None:
    assert CHOSEN.names(NAMES) == ("ankle_boot", "harbour crane", "crane bird")
    assert CHOSEN.of(NAMES) == {
        "ankle_boot": "a blurry photo of ankle boot",
        "harbour crane": "a photo of a harbour crane at work",
        "crane bird": "a crane bird, flying",
    }


def test_requests_are_worded_and_what_a_strategy_adds_stays() -> None:
    names = CHOSEN.names(NAMES)
    requests = TextOnly().plan([], names, 6, Progress(epoch=0, epochs=2), 0)
    prompts = CHOSEN.of(NAMES)
    assert {request.prompt for request in worded(requests, prompts)} == set(prompts.values())
    assert worded(requests, {}) == requests
    longer = type(requests[0])(**{**vars(requests[0]), "prompt": requests[0].prompt + ", from above"})
    assert worded([longer], prompts)[0].prompt == prompts[longer.class_name] + ", from above"


@pytest.mark.parametrize("template", ["a photo", "{} and {}", "{", "}{", "a {{}}", "a photo of {cat}"])
def test_a_template_without_one_pair_of_empty_braces_is_refused(template: str) -> None:
    with pytest.raises(UserError, match="braces"):
        Prompts(template=template)


@pytest.mark.parametrize("template", ["a photo", "{a} and {b}", "a {{cat}}"])
def test_so_is_that_of_a_class(template: str) -> None:
    with pytest.raises(UserError, match=r"prompts.classes.cat = .* one pair of braces"):
        Prompts(classes={"cat": template})


def test_unknown_classes_and_two_of_one_name_are_refused() -> None:
    with pytest.raises(UserError, match="names 'cat', which is no class of the data"):
        Prompts(classes={"cat": "a {}"}).names(NAMES)
    with pytest.raises(UserError, match="calls two classes 'crane bird'"):
        Prompts(classes={"crane": "a {crane bird}"}).names(NAMES)


def test_a_file_of_prompts_becomes_part_of_the_recipe(tmp_path: Path) -> None:
    path = tmp_path / "prompts.toml"
    path.write_text('template = "a sketch of {}"\n[classes]\n"ankle boot" = "a {low boot}"\n', encoding="utf-8")
    recipe = build_recipe(settings=[f"prompts={path}"])
    assert recipe.prompts == Prompts(template="a sketch of {}", classes={"ankle boot": "a {low boot}"})
    (tmp_path / "recipe.toml").write_text(to_toml(recipe), encoding="utf-8")
    path.unlink()
    assert build_recipe(tmp_path / "recipe.toml") == recipe
    assert build_recipe(settings=["prompts.classes.coat=a warm {}"]).prompts.classes == {"coat": "a warm {}"}


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("prompts=none.toml", "prompts = none.toml: "),
        ("prompts.classes=3", "prompts.classes: it is a table of names and texts"),
        ("prompts.classes.coat=3", "prompts.classes: it is a table of names and texts"),
        ("prompts.templates.coat=a", "Did you mean prompts.template?"),
    ],
)
def test_what_cannot_be_is_refused(setting: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        build_recipe(settings=[setting])
    assert words in str(caught.value)
