"""Laws of what the generator is told of a class."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from actgen.cli.app import app
from actgen.core.assets import BUNDLED
from actgen.core.class_words import class_words
from actgen.core.errors import UserError
from actgen.core.prompts import Prompts, worded
from actgen.core.types import Progress
from actgen.experiment.build import open_generator
from actgen.experiment.config import build_recipe, to_toml
from actgen.generation.best_of_n import BestOfN, Selection
from actgen.generation.presets import PRESETS
from actgen.generation.sampler import ImageSampler
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
        ("prompts.classes.coat=3", "prompts.classes.coat = 3 is not a text"),
        ("prompts.templatt=a", "Did you mean prompts.template?"),
        ("prompts.templates.coat=a", "prompts.templates = "),
        ("prompts.templates=a {}", "prompts.templates = 'a {}' is not a list of texts"),
        ("prompts.attributes=3", "prompts.attributes: it is a table of names and lists"),
        ("prompts.attributes.coat=red", "is not a list of texts"),
        ('prompts.attributes.coat=["red", 3]', "prompts.attributes.coat = 3 is not a text"),
        ("prompts.attributes.coat=[]", "prompts.attributes.coat is empty"),
        ('prompts.attributes.coat=["red", "red"]', "has 'red' twice"),
        ('prompts.attributes.coat=["a {b} c"]', "its braces must be empty"),
        ('prompts.templates=["a {}", "a {}"]', "has 'a {}' twice"),
        ('prompts.templates=["a {}", "all"]', "one pair of braces"),
    ],
)
def test_what_cannot_be_is_refused(setting: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        build_recipe(settings=[setting])
    assert words in str(caught.value)


# several prompts a class

VARIED = Prompts(
    templates=("a photo of a {}", "a {} from above"),
    classes={"crane": "a {harbour crane} at work"},
    attributes={"ankle_boot": ("", "leather", "{} with laces"), "*": ("old", "new")},
)


def test_a_class_has_a_prompt_for_every_template_and_attribute() -> None:
    assert VARIED.variants(NAMES) == {
        "ankle_boot": (
            "a photo of a ankle boot",
            "a photo of a leather ankle boot",
            "a photo of a ankle boot with laces",
            "a ankle boot from above",
            "a leather ankle boot from above",
            "a ankle boot with laces from above",
        ),
        "harbour crane": ("a old harbour crane at work", "a new harbour crane at work"),
        "crane bird": (
            "a photo of a old crane bird",
            "a photo of a new crane bird",
            "a old crane bird from above",
            "a new crane bird from above",
        ),
    }
    for prompts in (Prompts(), CHOSEN):
        assert {name: (prompt,) for name, prompt in prompts.of(NAMES).items()} == prompts.variants(NAMES)
        assert not prompts.vary
    for name, told in VARIED.variants(NAMES).items():
        assert all(class_words(name) in prompt for prompt in told)


def test_the_seed_of_a_request_deals_and_all_prompts_come_up_equally_often() -> None:
    names, variants = VARIED.names(NAMES), VARIED.variants(NAMES)
    requests = TextOnly().plan([], names, 3000, Progress(epoch=0, epochs=2), 0)
    told = worded(requests, variants)
    assert worded(list(reversed(requests)), variants) == list(reversed(told))
    counts = Counter((request.class_name, request.prompt) for request in told)
    assert set(counts) == {(name, prompt) for name, prompts in variants.items() for prompt in prompts}
    for (name, _), count in counts.items():
        expected = 1000 / len(variants[name])
        assert abs(count - expected) < 5 * expected**0.5
    assert {request.prompt for request in worded([replace(requests[0], key="x", round=3)], variants)} == {told[0].prompt}


def test_two_classes_with_the_same_prompt_are_refused() -> None:
    with pytest.raises(UserError, match="the classes 'a_b' and 'a b' have the same prompt, 'a photo of a b'"):
        Prompts().of(("a_b", "a b"))
    with pytest.raises(UserError, match="'crane' and 'crane bird' have the same prompt, 'a photo of crane bird'"):
        Prompts(attributes={"crane": ("", "{} bird")}).variants(NAMES)


def test_templates_and_a_template_are_refused_together_and_attributes_of_no_class() -> None:
    with pytest.raises(UserError, match=r"would not be used beside prompts.templates"):
        Prompts(template="a {}", templates=("the {}",))
    with pytest.raises(UserError, match=r"prompts.attributes names 'cat', which is no class of the data"):
        Prompts(attributes={"cat": ("old",)}).variants(NAMES)


def test_a_file_of_templates_and_attributes_becomes_part_of_the_recipe(tmp_path: Path) -> None:
    path = tmp_path / "prompts.toml"
    path.write_text('templates = ["a {}", "the {}"]\n[attributes]\ncoat = ["red", "{} on a hook"]\n', encoding="utf-8")
    recipe = build_recipe(settings=[f"prompts={path}"])
    assert recipe.prompts == Prompts(templates=("a {}", "the {}"), attributes={"coat": ("red", "{} on a hook")})
    (tmp_path / "recipe.toml").write_text(to_toml(recipe), encoding="utf-8")
    assert build_recipe(tmp_path / "recipe.toml") == recipe


def test_the_class_is_found_in_every_prompt_or_the_generator_is_refused() -> None:
    adapter = open_generator(BUNDLED, ["coat", "bag"])
    sampler = ImageSampler(adapter, PRESETS["tiny"])
    sampler.check_guides(["coat", "bag"], Prompts(templates=("a {}", "a photo of {}")).variants(["coat", "bag"]))
    late = Prompts(templates=("a {}", f"{'photo ' * 90}{{}}"))
    with pytest.raises(UserError, match="the class name 'coat' is not in the prompt"):
        sampler.check_guides(["coat", "bag"], late.variants(["coat", "bag"]))


def test_a_rival_is_compared_by_the_same_prompt_but_for_the_class() -> None:
    names, prompts = ("coat", "ankle_boot"), Prompts(templates=("a {}", "the {}"), attributes={"coat": ("red",)})
    sampler = ImageSampler(open_generator(BUNDLED, ["coat"]), PRESETS["tiny"])
    best_of_n = BestOfN(sampler, Selection(), list(prompts.of(names).values()), None, names)
    request = TextOnly().plan([], names, 2, Progress(epoch=0, epochs=2), 0)[0]
    coat = replace(request, label=0, class_name="coat")
    assert best_of_n.rival_prompt(replace(coat, prompt="the red coat"), 1) == "the red ankle boot"
    assert best_of_n.rival_prompt(replace(coat, prompt="a coat"), 1) == "a ankle boot"


def test_a_dry_run_says_how_many_prompts_there_are(tmp_path: Path) -> None:
    settings = [
        'prompts.templates=["a photo of {}", "a {}"]',
        'prompts.attributes.coat=["", "red"]',
        "model.name=actgen/tiny-cnn",
        "images=200",
        "training.epochs=2",
        "sampling.num_inference_steps=1",
        "generation.budget=1",
        "strategy=text-only",
    ]
    arguments = [part for setting in settings for part in ("--set", setting)]
    done = CliRunner().invoke(app, ["train", "--dry-run", "--out", str(tmp_path / "run"), *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "# 22 distinct prompts of 22 for these images" in done.output
