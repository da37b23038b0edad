"""NAME:key=value,... -> candidates."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from actgen.core.errors import UserError
from actgen.studies.probe.candidates import parse_candidates


def test_a_candidate_is_a_generator_with_settings_of_its_own() -> None:
    plain, strong = parse_candidates(
        ["bundled", "bundled:sampling.guidance_scale=2,loading.dtype=float32"], ["sampling.eta=0.5"]
    )
    assert (plain.name, strong.name) == ("bundled", "bundled:guidance_scale=2,dtype=float32")
    assert (plain.recipe.sampling.guidance_scale, strong.recipe.sampling.guidance_scale) == (1.0, 2.0)
    assert plain.recipe.sampling.eta == strong.recipe.sampling.eta == 0.5
    assert plain.recipe.sampling.num_inference_steps == 20  # the preset that suits the generator


def test_its_own_settings_win_over_those_of_all() -> None:
    (one,) = parse_candidates(["bundled:sampling.eta=0.1"], ["sampling.eta=0.5"], lora="far")
    assert (one.recipe.sampling.eta, one.recipe.loading.lora) == (0.1, "far")
    (own,) = parse_candidates(["bundled:loading.lora=near"], lora="far")
    assert own.recipe.loading.lora == "near"


def test_a_preset_is_a_setting_too() -> None:
    (one,) = parse_candidates(["some/turbo:generation.preset=turbo"])
    assert (one.name, one.recipe.sampling.num_inference_steps) == ("turbo:preset=turbo", 4)


def test_folders_with_colons_and_values_with_commas(tmp_path: Path) -> None:
    folder = tmp_path / "a:b=c"
    folder.mkdir()
    assert parse_candidates([str(folder)])[0].recipe.generator == str(folder)
    (one,) = parse_candidates([f"{tmp_path}/x:y:loading.lora=one,two,sampling.eta=0.1"])
    assert (one.recipe.generator, one.recipe.loading.lora) == (f"{tmp_path}/x:y", "one,two")


def test_two_folders_of_one_name_are_told_apart() -> None:
    assert [one.name for one in parse_candidates(["a/gen", "b/gen", "c/other"])] == ["a/gen", "b/gen", "other"]


def test_the_folder_is_safe_and_belongs_to_the_settings_alone() -> None:
    (one,), (again, other) = parse_candidates(["../../x y"]), parse_candidates(["../../x y", "bundled"])
    assert one.folder(Path("out")) == again.folder(Path("out")) != other.folder(Path("out"))
    assert one.folder(Path("out")).parent == Path("out")
    assert parse_candidates(["bundled"], seed=1)[0].folder(Path()) != other.folder(Path())
    assert one.folder(Path()).name.startswith("x-y-")


@pytest.mark.parametrize(
    ("texts", "settings", "words"),
    [
        ([], [], "needs a generator"),
        ([" "], [], "is empty"),
        (["bundled", "bundled"], [], "more than once"),
        (["bundled:training.epochs=3"], [], "no setting of a probe"),
        (["bundled:sampling.guidance=3"], [], "unknown key sampling.guidance."),
        (["bundled:sampling.eta=9"], [], "sampling.eta = 9"),
        (["bundled"], ["generation.budget=1"], "no setting of a probe"),
        (["bundled"], ["sampling.eta"], "no setting of a probe"),
        (["real images"], [], "a row of the table has this name"),
    ],
)
def test_what_cannot_be_a_candidate(texts: list[str], settings: list[str], words: str) -> None:
    with pytest.raises(UserError, match=re.escape(words)):
        parse_candidates(texts, settings)
