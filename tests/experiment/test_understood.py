"""What a run says that it has understood, and what it refuses to be told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from actgen.cli.app import app
from actgen.core.errors import UserError
from actgen.core.prompts import Prompts
from actgen.diffusion.licence import licence_of
from actgen.diffusion.pipeline import PipelineAdapter
from actgen.experiment.build import open_data
from actgen.experiment.config import build_recipe
from actgen.experiment.understood import understand
from actgen.generation.told_apart import check_prompts
from tests.conftest import Refuse
from tests.support.layouts import draw


def test_data_are_told_as_they_were_understood(digits: Path) -> None:
    result = CliRunner().invoke(app, ["data", str(digits), "--json"], catch_exceptions=False)
    seen = json.loads(result.output)
    assert [(split["name"], split["images"]) for split in seen["splits"]] == [("train", 120), ("test", 40)]
    assert seen["splits"][0]["classes"] == {"one": 30, "three": 30, "two": 30, "zero": 30}
    assert seen["splits"][0]["sizes"]["largest"] == [8, 8]
    assert seen["prompts"] == {
        "count": 4,
        "first": "a photo of one",
        "shortest": "a photo of one",
        "longest": "a photo of three",
    }
    assert (seen["left_out"], seen["notes"], seen["generator"]) == ([], [], None)


def test_every_run_prints_it_before_it_trains(digits: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    draw(tmp_path / "data", *(f"{name}/{i}.png" for name in ("cat", "dog") for i in range(3)))
    (tmp_path / "data" / "cat" / "notes.txt").write_text("no picture", encoding="utf-8")
    run = ["train", "--data", str(tmp_path / "data"), "--strategy", "none", "--epochs", "1", "--out", str(tmp_path / "out")]
    out = CliRunner().invoke(app, [*run, "--set", "training.batch_size=2"], catch_exceptions=False).output
    assert "train: 6 images of 4x4 pixels (6 looked at) in 2 classes: cat 3, dog 3" in out
    assert "left out: 1 file (not a picture that Pillow opens); the first: " in out
    assert "prompts: 2; first 'a photo of cat'" in out
    assert out.index("prompts: 2") < out.index("test accuracy")


def test_a_run_within_its_data_is_left_out_and_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path, *(f"{name}/{i}.png" for name in ("cat", "dog") for i in range(3)))
    monkeypatch.chdir(tmp_path)
    run = ["train", "--data", ".", "--strategy", "none", "--epochs", "1", "--set", "training.batch_size=2", "--out"]
    outs = ["out", "out", "again", "runs/third"]
    said = [CliRunner().invoke(app, [*run, out], catch_exceptions=False) for out in outs]
    assert [result.exit_code for result in said] == [0, 0, 0, 0]
    assert all("train: 6 images" in said[place].output for place in (0, 2, 3))
    assert "in a folder that actgen wrote" in said[2].output


def test_the_generator_and_its_parts_are_told(tiny_generator: Path, digits: Path) -> None:
    out = CliRunner().invoke(app, ["data", str(digits), "--generator", str(tiny_generator)], catch_exceptions=False).output
    assert f"generator: {tiny_generator} (StableDiffusionPipeline, 32 pixels)" in out
    assert "  unet: UNet2DConditionModel, " in out


def test_numbers_are_pointed_to_prompts(tmp_path: Path) -> None:
    draw(tmp_path, *(f"{name}/{i}.png" for name in ("0", "1") for i in range(2)))
    recipe = build_recipe(None, [], {"data": str(tmp_path)})
    assert understand(recipe, open_data(recipe)).notes == (
        "2 classes are called by numbers: a generator is told 'a photo of 0'. Say in [prompts.classes] what they show",
    )


def test_names_that_differ_in_case_only_are_asked_about(tmp_path: Path) -> None:
    draw(tmp_path, *(f"{name}/{i}.png" for name in ("Cat", "cat") for i in range(2)))
    recipe = build_recipe(None, [], {"data": str(tmp_path)})
    assert "differ in case only" in understand(recipe, open_data(recipe)).notes[0]


def test_two_classes_of_one_prompt_are_refused() -> None:
    with pytest.raises(UserError, match=r"'hot_dog' and 'hot dog' have the same prompt.*prompts\.classes"):
        Prompts().of(["hot_dog", "hot dog"])


def test_two_classes_that_are_one_to_the_tokenizer_are_refused(tiny_generator: Path) -> None:
    adapter = PipelineAdapter.from_pretrained(str(tiny_generator))
    long = "zero " * 200
    check_prompts(adapter, {"one": ("a photo of one",), "two": ("a photo of two",)})
    with pytest.raises(UserError, match=r"'a' and 'b' are one to this generator's tokenizer.*prompts\.classes"):
        check_prompts(adapter, {"a": (f"{long}one",), "b": (f"{long}two",)})


def test_a_token_that_the_text_encoder_does_not_have_is_told(
    tiny_generator: Path, digits: Path, tmp_path: Path, refuse: Refuse
) -> None:
    adapter = PipelineAdapter.from_pretrained(str(tiny_generator))
    adapter.pipeline.tokenizer.add_tokens("<my-cat>")
    with pytest.raises(UserError, match="resize_token_embeddings"):
        check_prompts(adapter, {"x": ("a photo of <my-cat>",)})


@pytest.mark.parametrize(
    ("front", "licence"),
    [
        ("license: creativeml-openrail-m\ntags: [x]", "creativeml-openrail-m"),
        ("license: other\nlicense_name: stabilityai-ai-community", "stabilityai-ai-community"),
        ("tags: [x]", ""),
    ],
)
def test_the_licence_that_a_card_states(tmp_path: Path, front: str, licence: str) -> None:
    (tmp_path / "README.md").write_text(f"---\n{front}\n---\n# license: no\n", encoding="utf-8")
    assert licence_of(str(tmp_path)) == licence
    assert licence_of(str(tmp_path / "nowhere")) == ""
