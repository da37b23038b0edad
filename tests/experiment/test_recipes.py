"""Every shipped recipe: that it says what it is, and that it runs on small data in the same format."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from actgen.cli.app import app
from actgen.core.assets import find_recipe, recipes_folder, shipped_recipes
from actgen.core.errors import UserError
from actgen.data.datasets.evaluation import Evaluation
from actgen.data.datasets.idx import FASHION_MNIST_CLASSES as FASHION_MNIST
from actgen.data.datasets.sources import READERS
from actgen.experiment.build import open_data, open_run
from actgen.experiment.config import Recipe, build_recipe, to_toml
from actgen.experiment.run import run
from actgen.finetune import tiny
from actgen.studies.bench.arms import read_arms
from actgen.studies.bench.worker import _data
from actgen.training.epoch import steps_per_epoch
from actgen.training.schedule import epoch_budgets, generating_epochs
from tests.conftest import Refuse, read_lines
from tests.support.stand_ins import write_cifar, write_eurosat, write_idx, write_imagenet

ROOT = Path(__file__).parents[2]
NAMES = shipped_recipes()
PUBLISHED = {"cifar10": 50_000, "cifar100": 50_000, "imagenet": 1_281_167}  # training images
STAND_INS: dict[str, Callable[[Path], str]] = {
    **{name: lambda folder: write_idx(folder, FASHION_MNIST) for name in NAMES if name.startswith(("fashion", "demo"))},
    "cifar10-resnet50": lambda folder: write_cifar(folder, train=2, test=1),
    "cifar100-resnet50": lambda folder: write_cifar(folder, "cifar100", train=2, test=1),
    "imagenet-resnet50": write_imagenet,
    "imagenet-vit-s16": lambda folder: write_imagenet(folder, "kaggle"),
    "eurosat-16shot": write_eurosat,
}
SMALLER = {
    **{name: ["images=30"] for name in NAMES if name.startswith("fashion")},
    **{name: ["labels_per_class=3"] for name in NAMES if name.startswith(("fashion-mnist-few", "demo"))},
    "cifar10-resnet50": ["model.image_size=16"],
    "cifar100-resnet50": ["model.name=resnet18", "model.image_size=16", "training.batch_size=32"],
    "imagenet-resnet50": ["model.image_size=32", "training.warmup_epochs=0.2", "generation.holdout=0.3"],
    "imagenet-vit-s16": ["model.image_size=32", "training.warmup_epochs=0.2", "generation.holdout=0.3"],
    "eurosat-16shot": ["model.image_size=32", "model.pretrained=false", "images=30"],
}
SHORT = [
    "training.epochs=2",
    "training.batch_size=8",
    "training.workers=0",
    "generation.every=1",
    "generation.budget=0.1",
    "generation.replay=false",
    "sampling.num_inference_steps=2",
]


def untrained_generator(recipe: Recipe, folder: Path) -> Path:
    """Write a generator of the tiny architecture that reads the words of the recipe's prompts, with random weights."""
    words = [*open_data(recipe).train.class_names, *recipe.prompts.template.replace("{}", "").split()]
    tokenizer = tiny.build_tokenizer(words)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        parts = tiny.build_autoencoder(), tiny.build_unet(), tiny.build_text_encoder(tokenizer)
    tiny.assemble(*parts, tokenizer).save_pretrained(folder, safe_serialization=True)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_says_what_it_is_and_how_to_start_it(name: str) -> None:
    text = (recipes_folder() / f"{name}.toml").read_text(encoding="utf-8")
    comment = text[: text.index("\n\n")]
    assert all(line.startswith("#") for line in comment.splitlines())
    assert "\n# Source: " in comment
    assert f"\n#     actgen train --recipe {name}\n" in comment + "\n"
    assert all(len(line) <= 128 for line in text.splitlines())
    assert tomllib.loads(text)["strategy"] == "actgen"


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_found_by_name_and_by_path_and_survives_the_round_trip(name: str, tmp_path: Path) -> None:
    recipe = build_recipe(Path(name))
    for path in (ROOT / "recipes" / f"{name}.toml", Path("recipes") / f"{name}.toml", Path(f"{name}.toml")):
        assert build_recipe(path) == recipe
    (tmp_path / "recipe.toml").write_text(to_toml(recipe), encoding="utf-8")
    assert build_recipe(tmp_path / "recipe.toml") == recipe


def test_a_file_wins_over_a_shipped_recipe_and_other_names_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fashion-mnist-500.toml").write_text("seed = 5\n", encoding="utf-8")
    assert build_recipe(Path("fashion-mnist-500.toml")).seed == 5
    assert build_recipe(Path("fashion-mnist-500")).images == 500
    with pytest.raises(UserError, match=r"no shipped recipe of that name\. Shipped are cifar10-resnet50, "):
        find_recipe(Path("cifar"))
    with pytest.raises(UserError, match=r"other/fashion-mnist-500\.toml"):
        build_recipe(Path("other/fashion-mnist-500.toml"))


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_runs_on_small_data_in_the_same_format(name: str, tmp_path: Path) -> None:
    settings = [*SHORT, *SMALLER.get(name, []), f"data={STAND_INS[name](tmp_path / 'data')}"]
    shipped = build_recipe(Path(name))
    if shipped.generator != "bundled":
        settings.append(f"generator={untrained_generator(build_recipe(Path(name), settings), tmp_path / 'generator')}")
    recipe = build_recipe(Path(name), settings)
    summary = run(recipe, tmp_path / "run")
    real = summary["real_images"]
    assert summary["synthetic_images"] == round(0.1 * real) > 0
    assert summary["optimizer_steps"] == 2 * -(-real // recipe.training.batch_size)
    assert summary["test_accuracy"] is not None
    rows = read_lines(tmp_path / "run" / "store" / "metadata.jsonl")
    assert {row["prompt"] for row in rows} == {shipped.prompts.template.replace("{}", row["class_name"]) for row in rows}
    assert summary["data_note"].startswith("test images: 20%") == (name == "eurosat-16shot")


@pytest.mark.parametrize("name", [name for name in NAMES if build_recipe(Path(name)).data != "fashion-mnist-mini"])
def test_without_its_data_a_recipe_says_what_to_download(name: str, refuse: Refuse) -> None:
    prefix, _, folder = build_recipe(Path(name)).data.partition(":")
    there = Path(folder).is_absolute() and Path(folder).exists()  # where a package of the system puts them
    said = refuse("train", "--recipe", name, "--dry-run", *(["--data", f"{prefix}:data/nowhere"] if there else []))
    assert said.startswith(f"actgen: there is no folder called '{'data' if there else folder.partition('/')[0]}")
    assert READERS[prefix].layout in said


def test_the_dry_run_of_a_bundled_recipe_needs_nothing_but_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(
        app,
        ["train", "--recipe", "fashion-mnist-500", "--dry-run", "--set", "sampling.num_inference_steps=1"],
        catch_exceptions=False,
    )
    assert done.exit_code == 0
    assert "# 480 optimiser steps, 150 images in 30 rounds" in done.output
    assert list(tmp_path.iterdir()) == []


def test_the_bench_trains_on_the_images_and_prompts_of_the_recipe() -> None:
    recipe = build_recipe(Path("fashion-mnist-500"), ["prompts.classes.coat=a {warm coat}"])
    for seed in (0, 1):  # the second comes from the memory
        opened = _data(replace(recipe, seed=seed))
        assert opened.train.keys == open_data(recipe).train.keys
        assert opened.prompts["warm coat"] == "a warm coat"
    validated = replace(recipe, evaluation=Evaluation(on="validation"))
    parts = [_data(replace(validated, seed=seed)) for seed in (0, 1)]
    assert parts[0].train.keys != parts[1].train.keys
    assert all(set(part.train.keys) < set(open_data(recipe).train.keys) for part in parts)


# what a recipe costs


def figures(name: str) -> tuple[int, int, int, int]:
    """Return real images, images to generate, rounds and optimiser steps."""
    recipe = build_recipe(Path(name))
    real = recipe.images or 10 * recipe.labels_per_class or PUBLISHED[recipe.data.partition(":")[0]]
    assert recipe.training.epoch_length == "real"
    generating = generating_epochs(recipe.training.epochs, recipe.generation.until)
    budgets = epoch_budgets(round(recipe.generation.budget * real), generating, recipe.generation.every)
    return (
        real,
        sum(budgets),
        sum(share > 0 for share in budgets),
        recipe.training.epochs * steps_per_epoch(recipe.training, real, real),
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_documentation_has_the_figures_of_the_dry_run(name: str) -> None:
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    (row,) = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
    assert [cell.strip() for cell in row.strip("|").split("|")[1:5]] == [f"{figure:,}" for figure in figures(name)]


def test_the_closed_recipe_and_its_generator_take_the_same_images(tmp_path: Path) -> None:
    spec = write_idx(tmp_path / "data")
    out = tmp_path / "generator"
    command = ["finetune", "--from-scratch", "tiny", "--data", spec, "--images", "6", "--out", str(out)]
    done = CliRunner().invoke(app, [*command, "--steps", "2", "--autoencoder-steps", "2"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    facts = json.loads((out / "training.json").read_text(encoding="utf-8"))
    assert facts["images"] == 6
    assert f"--data {spec} --images 6 " in facts["command"]


@pytest.mark.parametrize("name", [path.name.removesuffix(".arms.toml") for path in recipes_folder().glob("*.arms.toml")])
def test_the_arms_beside_a_recipe_can_be_opened(name: str, tmp_path: Path) -> None:
    path = find_recipe(Path(name))
    assert read_arms(path)
    for arm, settings in read_arms(path).items():
        training = open_run(build_recipe(path, flags={**settings}), tmp_path / arm)
        assert training.budget.total > 0
        assert not (tmp_path / arm).exists()
