"""The command line: what it refuses and how, what it prints, and that it leaves nothing half-written."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from accelerate import PartialState
from PIL import Image
from typer.testing import CliRunner

from actgen.cli.app import app
from actgen.core.errors import UserError
from actgen.experiment.config import build_recipe, to_toml
from tests.conftest import CLASSES, TRAIN_IMAGES, Refuse, read_lines, tree, write_digits


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> Path:
    """Folders of data and generators that each have one fault."""
    root = tmp_path_factory.mktemp("broken")
    for fault in ("empty", "single", "corrupt", "one-class"):
        write_digits(root / fault, "", 0, 3, CLASSES[:2] if fault != "one-class" else CLASSES[:1])
    for path in (root / "empty" / "one").iterdir():
        path.unlink()
    for path in sorted((root / "single" / "one").iterdir())[1:]:
        path.unlink()
    picture = root / "corrupt" / "one" / "001.png"
    picture.write_bytes(picture.read_bytes()[:60])
    (root / "generator" / "unet").mkdir(parents=True)
    (root / "generator" / "unet" / "config.json").write_text("{}", encoding="utf-8")
    (root / "half-generator").mkdir()
    (root / "half-generator" / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"', encoding="utf-8")
    (root / "recipe.toml").write_text("[training]\nepoch = 3\n", encoding="utf-8")
    return root


def train(data: Path | str, out: Path, *more: str) -> list[str]:
    return ["train", "--data", str(data), "--out", str(out), "--epochs", "2", *more]


# data


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("nowhere", "no data set and no folder called"),
        ("empty", "one has no images"),
        ("single", "fewer than 2 training images of: one"),
        ("corrupt", "001.png"),
        ("one-class", "only one class"),
        ("recipe.toml", "is a file"),
    ],
)
def test_data_that_cannot_be_trained_on(refuse: Refuse, broken: Path, tmp_path: Path, fault: str, words: str) -> None:
    for arguments in (
        train(broken / fault, tmp_path / "out"),
        train(broken / fault, tmp_path / "out", "--dry-run"),
        ["finetune", "--from-scratch", "tiny", "--data", str(broken / fault), "--out", str(tmp_path / "out")],
    ):
        assert words in refuse(*arguments)


# settings


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "resnet81"], ["resnet81", "actgen/small-cnn", "timm"]),
        (["--model", "resnet18.no_such_weights"], ["resnet18.no_such_weights"]),
        (["--strategy", "random"], ["'random'", "none, oversample, text-only, "]),
        (["--set", "training.epoch=3"], ["training.epoch.", "Did you mean training.epochs?"]),
        (["--set", "training.batch_size"], ["training.batch_size", "a.b=value"]),
        (["--set", "training.batch_size=many"], ["'many'", "whole number"]),
        (["--set", "training.warmup=2"], ["training.warmup = 2", "0 to 0.9"]),
        (["--set", "sampling.eta=nan"], ["sampling.eta"]),
        (["--set", "generation.preset=best"], ["'best'", "allowed: "]),
        (["--set", "sampling.text.norm=none"], ["norm", "token-columns"]),
        (["--budget", "-1"], ["generation.budget = -1", "0 to 100"]),
        (["--seed", "-1"], ["seed = -1"]),
        (["--recipe", "nowhere.toml"], ["nowhere.toml", "--dry-run"]),
    ],
)
def test_settings_that_cannot_be(refuse: Refuse, digits: Path, tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    message = refuse(*train(digits, tmp_path / "out", *arguments))
    assert [word for word in words if word not in message] == []


def test_an_unknown_key_in_a_recipe_file(refuse: Refuse, broken: Path, digits: Path, tmp_path: Path) -> None:
    message = refuse(*train(digits, tmp_path / "out", "--recipe", str(broken / "recipe.toml")))
    assert "unknown key training.epoch. Did you mean training.epochs?" in message


# generators


@pytest.mark.parametrize(
    ("fault", "words"),
    [("generator", "no model_index.json"), ("half-generator", "half-generator"), ("no-such-generator", "cannot load")],
)
def test_a_generator_that_is_none(refuse: Refuse, broken: Path, digits: Path, tmp_path: Path, fault: str, words: str) -> None:
    path, out = str(broken / fault), tmp_path / "out"
    assert words in refuse(*train(digits, out, "--generator", path))
    assert words in refuse("generate", "--classes", "zero,one", "--generator", path, "--out", str(out))


def test_the_bundled_generator_is_refused_for_what_it_never_saw(refuse: Refuse, digits: Path, tmp_path: Path) -> None:
    assert "actgen finetune" in refuse(*train(digits, tmp_path / "out"))
    assert "actgen finetune" in refuse("generate", "--classes", "zebra", "--out", str(tmp_path / "out"))


def test_damaged_weights_of_a_generator(refuse: Refuse, tiny_generator: Path, digits: Path, tmp_path: Path) -> None:
    for path in tiny_generator.rglob("*"):
        if path.is_file():
            copy = tmp_path / "copy" / path.relative_to(tiny_generator)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes()[:-1000] if path.parent.name == "unet" else path.read_bytes())
    assert "copy" in refuse(*train(digits, tmp_path / "out", "--generator", str(tmp_path / "copy")))


@pytest.mark.parametrize("name", ["a name " * 20 + "too long for the prompt", "_"])
def test_a_class_that_the_generator_cannot_read_is_found_before_the_run(
    refuse: Refuse, tiny_generator: Path, tmp_path: Path, name: str
) -> None:
    write_digits(tmp_path / "data", "", 0, 3, (name, "one"))
    message = refuse(*train(tmp_path / "data", tmp_path / "out", "--generator", str(tiny_generator)))
    assert "is not in the prompt" in message


def test_attention_of_a_size_that_is_not_there_is_found_before_the_run(
    refuse: Refuse, tiny_generator: Path, digits: Path, tmp_path: Path
) -> None:
    more = ["--generator", str(tiny_generator), "--set", "sampling.attention_resolution=7"]
    assert "of size 7" in refuse(*train(digits, tmp_path / "out", *more))


# where to write


@pytest.fixture
def something(tmp_path: Path) -> Path:
    out = tmp_path / "out"
    (out / "photos").mkdir(parents=True)
    (out / "photos" / "holiday.txt").write_text("mine", encoding="utf-8")
    return out


def test_a_folder_that_holds_something_else(refuse: Refuse, something: Path, digits: Path, tiny_generator: Path) -> None:
    assert "holds no run" in refuse(*train(digits, something, "--strategy", "none"))
    assert "holds no bench" in refuse("demo", "--out", str(something))
    assert "exists already" in refuse("finetune", "--from-scratch", "tiny", "--data", str(digits), "--out", str(something))
    assert "not empty" in refuse(
        "generate", "--classes", "zero", "--generator", str(tiny_generator), "--out", str(something), "--count", "1"
    )
    assert "summary.json" in refuse("report", str(something))


@pytest.mark.parametrize("below", ["", "run"])
def test_a_file_in_the_place_of_the_folder(
    refuse: Refuse, digits: Path, tiny_generator: Path, tmp_path: Path, below: str
) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    out = tmp_path / "file" / below
    generate = ["generate", "--classes", "zero", "--generator", str(tiny_generator), "--out", str(out), "--count", "1"]
    finetune = ["finetune", "--from-scratch", "tiny", "--data", str(digits), "--out", str(out), "--steps", "1"]
    for arguments in (train(digits, out, "--strategy", "none"), ["demo", "--out", str(out)], generate, finetune):
        assert str(tmp_path / "file") in refuse(*arguments)


def test_a_folder_that_holds_another_run(refuse: Refuse, digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "recipe.toml").write_text(to_toml(build_recipe(flags={"data": str(digits), "seed": 1})), encoding="utf-8")
    assert "another recipe" in refuse(*train(digits, out, "--strategy", "none", "--seed", "2"))
    (out / "summary.json").write_text("{}", encoding="utf-8")
    assert "another recipe" in refuse(*train(digits, out, "--strategy", "none", "--seed", "2"))


def damage_nothing(path: Path) -> None:
    path.write_bytes(b"")


def damage_text(path: Path) -> None:
    path.write_bytes(b"this is no checkpoint")


def damage_half(path: Path) -> None:
    torch.save({"model": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])


def damage_other(path: Path) -> None:
    torch.save({"weights": torch.zeros(3)}, path)


def damage_model(path: Path) -> None:
    torch.save({"model": {}, "optimizer": {}, "stats": [], "images": 0, "bank": {}}, path)


@pytest.mark.parametrize("damage", [damage_nothing, damage_text, damage_half, damage_other, damage_model])
def test_a_damaged_checkpoint(refuse: Refuse, digits: Path, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    out = tmp_path / "out"
    (out / "checkpoints").mkdir(parents=True)
    recipe = build_recipe(flags={"data": str(digits), "strategy": "none", "training.epochs": 2})
    (out / "recipe.toml").write_text(to_toml(recipe), encoding="utf-8")
    damage(out / "checkpoints" / "0000001-0-ready.pt")
    message = refuse(*train(digits, out, "--strategy", "none"))
    assert str(out / "checkpoints" / "0000001-0-ready.pt") in message
    assert "damaged" in message


# other commands


def test_other_requests_that_cannot_be(refuse: Refuse, digits: Path, tiny_generator: Path, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "out")]
    assert "--classes is empty" in refuse("generate", "--classes", " , ", "--generator", str(tiny_generator), *out)
    twice = refuse("generate", "--classes", "one, zero,one", "--generator", str(tiny_generator), *out)
    assert "--classes names one more than once" in twice
    assert "allowed: tiny" in refuse("finetune", "--from-scratch", "huge", "--data", str(digits), *out)
    assert "summary.json" in refuse("report", str(tmp_path / "nowhere"))


def test_a_real_process_ends_with_code_2_and_a_message(tmp_path: Path) -> None:
    code = "from actgen.cli.app import main; main()"
    command = [sys.executable, "-c", code, *train("no/such [bold]folder :boot:", tmp_path / "out")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout.strip()) == (2, "")
    assert ended.stderr.startswith("actgen: there is no data set and no folder called 'no/such [bold]folder :boot:'.\n")
    assert len(ended.stderr.splitlines()) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_demo_finds_what_is_wrong_before_its_first_arm_trains(refuse: Refuse, digits: Path, tmp_path: Path) -> None:
    demo = ["demo", "--out", str(tmp_path / "out"), "--set", f"data={digits}", "--set", "training.epochs=2"]
    assert "nowhere" in refuse(*demo, "--set", "generator=nowhere")
    assert "actgen finetune" in refuse(*demo)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Permission denied", "/there/out"), "/there/out: Permission denied. Check"),
        (OSError("cannot identify image file\nand more"), "cannot identify image file. Check"),
    ],
)
def test_what_the_system_refuses_is_a_message(
    refuse: Refuse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: OSError, words: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("actgen.experiment.run.run", fail)
    assert words in refuse(*train("somewhere", tmp_path / "out"))


# what it prints


def test_without_a_terminal_it_prints_epochs_and_no_empty_line(digits: Path, tmp_path: Path) -> None:
    arguments = train(digits, tmp_path / "out", "--strategy", "none")
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    lines = result.stderr.splitlines()
    assert lines[0] == f"data: {digits}"
    assert [line.split()[:3] for line in lines if line.startswith("none ")] == [["none", "epoch", "1"], ["none", "epoch", "2"]]
    assert "" not in [line.strip() for line in (*lines, *result.stdout.splitlines())]


def test_a_dry_run_prints_the_whole_configuration_and_writes_nothing(
    digits: Path, tiny_generator: Path, tmp_path: Path
) -> None:
    steps = ["--set", "sampling.num_inference_steps=4", "--set", "sampling.batch_size=4"]
    more = ["--generator", str(tiny_generator), "--epochs", "4", "--dry-run"]
    arguments = train(digits, tmp_path / "out", *steps, *more)
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    flags = {"data": str(digits), "generator": str(tiny_generator), "training.epochs": 4}
    recipe = build_recipe(settings=["sampling.num_inference_steps=4", "sampling.batch_size=4"], flags=flags)
    assert tomllib.loads(result.stdout) == tomllib.loads(to_toml(recipe))
    found = re.search(r"(\d+) optimiser steps, (\d+) images in (\d+) rounds", result.stdout)
    assert found is not None
    images = len(CLASSES) * TRAIN_IMAGES
    assert [int(text) for text in found.groups()] == [4 * -(-images // 64), round(0.3 * images), 2]
    assert re.search(r"about \d+ s of training and \d+ s of generation", result.stdout)
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_prints_odd_names_as_they_are(tmp_path: Path) -> None:
    data = tmp_path / "a [bold]folder[/bold] \\[x] :boot: é"
    write_digits(data, "", 0, 3, CLASSES[:2])
    arguments = train(data, tmp_path / "out", "--strategy", "none", "--dry-run")
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert tomllib.loads(result.stdout)["data"] == str(data)
    assert not (tmp_path / "out").exists()


def test_without_a_command_it_shows_help() -> None:
    assert "train" in CliRunner().invoke(app, []).output


# generate and finetune


def generate(generator: Path, out: Path, *more: str) -> list[str]:
    return [
        "generate",
        "--classes",
        "zero, one",
        "--generator",
        str(generator),
        "--out",
        str(out),
        "--count",
        "5",
        "--set",
        "sampling.num_inference_steps=2",
        *more,
    ]


def test_generate_draws_with_the_prompt_and_the_words_of_a_class(tiny_generator: Path, tmp_path: Path) -> None:
    words = ["--set", "prompts.template=a sketch of {}", "--set", "prompts.classes.zero=the {number nought} in chalk"]
    result = CliRunner().invoke(app, generate(tiny_generator, tmp_path / "out", *words))
    assert result.exit_code == 0, result.output
    rows = read_lines(tmp_path / "out" / "metadata.jsonl")
    assert {(row["class_name"], row["prompt"]) for row in rows} == {
        ("number nought", "the number nought in chalk"),
        ("one", "a sketch of one"),
    }


def test_generate_fills_a_store_and_draws_nothing_twice(tiny_generator: Path, tmp_path: Path) -> None:
    out = tmp_path / "store"
    first = CliRunner().invoke(app, generate(tiny_generator, out), catch_exceptions=False)
    assert first.exit_code == 0
    before, rows = tree(out), read_lines(out / "metadata.jsonl")
    assert len(rows) == 5
    assert {row["class_name"] for row in rows} == {"zero", "one"}
    for row in rows:
        with Image.open(out / row["file_name"]) as image:
            assert image.size == (32, 32)
    assert CliRunner().invoke(app, generate(tiny_generator, out), catch_exceptions=False).exit_code == 0
    assert tree(out) == before
    more = CliRunner().invoke(app, generate(tiny_generator, out, "--count", "7"), catch_exceptions=False)
    assert more.exit_code == 0
    assert read_lines(out / "metadata.jsonl")[:5] == rows
    assert len(read_lines(out / "metadata.jsonl")) == 7


@pytest.mark.parametrize("other", [("--seed", "1"), ("--classes", "two,three"), ("--set", "sampling.guidance_scale=2")])
def test_generate_does_not_pass_other_images_off_as_these(
    refuse: Refuse, tiny_generator: Path, tmp_path: Path, other: tuple[str, str]
) -> None:
    out = tmp_path / "store"
    CliRunner().invoke(app, generate(tiny_generator, out, "--count", "2"), catch_exceptions=False)
    assert "store" in refuse(*generate(tiny_generator, out, "--count", "2", *other))


def test_generate_draws_on_the_device_that_there_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[str] = []

    def look(name: str, images: object, device: str, loading: object) -> None:
        seen.append(device)
        raise UserError("seen")

    monkeypatch.setattr("actgen.experiment.generate.open_generator", look)
    with pytest.raises(UserError, match="seen"):
        CliRunner().invoke(app, generate(tmp_path, tmp_path / "store"), catch_exceptions=False)
    assert seen == [str(PartialState().device)]


def test_finetune_makes_a_generator_and_shows_where(digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "generator"
    arguments = [
        "finetune",
        "--from-scratch",
        "tiny",
        "--data",
        str(digits),
        "--out",
        str(out),
        "--steps",
        "2",
        "--autoencoder-steps",
        "2",
    ]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert str(out) in result.output.replace("\n", "")
    assert (out / "model_index.json").is_file()
