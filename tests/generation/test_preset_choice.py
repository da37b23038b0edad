"""Which preset a generator gets, from what its folder says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from actgen.diffusion.families import FAMILIES
from actgen.experiment.config import build_recipe
from actgen.generation.preset_choice import preset_for
from actgen.generation.presets import PRESETS


def write(folder: Path, index: dict[str, object], transformer: dict[str, object]) -> str:
    for name, table in (("model_index.json", index), ("transformer/config.json", transformer)):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(table), encoding="utf-8")
    return str(folder)


@pytest.mark.parametrize(
    ("name", "kind", "more", "transformer", "preset"),
    [
        ("a", "StableDiffusionXLPipeline", {}, {}, "default"),
        ("a", "StableDiffusion3Pipeline", {}, {}, "flow"),
        ("sd35-Turbo", "StableDiffusion3Pipeline", {}, {}, "flow-fast"),
        ("a", "FluxPipeline", {}, {"guidance_embeds": True}, "flow-embedded"),
        ("a", "FluxPipeline", {}, {"guidance_embeds": False}, "flow-fast"),
        ("a", "Flux2KleinPipeline", {"is_distilled": True}, {}, "flow-fast"),
        ("a", "Flux2KleinPipeline", {"is_distilled": False}, {}, "flow"),
        ("a", "PixArtSigmaPipeline", {}, {}, "dit"),
        ("a", "SanaPipeline", {}, {}, "flow"),
        ("a", ["NoPipeline"], {}, {}, "default"),
    ],
)
def test_the_preset_follows_from_the_files(
    tmp_path: Path, name: str, kind: object, more: dict[str, object], transformer: dict[str, object], preset: str
) -> None:
    folder = write(tmp_path / name, {"_class_name": kind, **more}, transformer)
    assert preset_for(folder) == preset
    for settings in ([], ["generation.preset=auto"]):
        recipe = build_recipe(settings=settings, flags={"generator": folder})
        assert (recipe.generation.preset, recipe.sampling) == (preset, PRESETS[preset])
    given = build_recipe(settings=["generation.preset=fast"], flags={"generator": folder})
    assert given.sampling == PRESETS["fast"]


def test_every_known_family_has_a_preset_and_damaged_files_the_default(tmp_path: Path) -> None:
    for kind in FAMILIES:
        assert preset_for(write(tmp_path / kind, {"_class_name": kind}, {})) in {"flow", "flow-embedded", "flow-fast", "dit"}
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model_index.json").write_text("[", encoding="utf-8")
    assert preset_for(str(tmp_path / "broken")) == "default"
    assert preset_for(str(tmp_path / "nowhere")) == preset_for("nobody/has-this") == "default"
