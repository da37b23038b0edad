"""A whole run on real digits: what it leaves behind, that it repeats, and that it continues as if never stopped."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner

from actgen.cli.app import app
from actgen.core.errors import UserError
from actgen.core.types import Request, Sample
from actgen.data.datasets.imageset import ImageSet, View, to_pixels
from actgen.experiment.build import open_run
from actgen.experiment.config import Recipe, build_recipe, to_toml
from actgen.experiment.dry_run import estimate
from actgen.experiment.run import run
from actgen.generation.sampler import ImageSampler
from actgen.generation.sampling_context import SamplingContext
from actgen.training.callbacks import Callbacks
from actgen.training.loop import fit
from tests.conftest import CLASSES, TRAIN_IMAGES, command, read_lines, tree
from tests.support.stopped_runs import Stopped, after_epoch
from tests.support.whole_runs import IMAGES, assert_same_run, summary

MANIFEST: dict[str, type | tuple[type, ...]] = {
    "key": str,
    "file_name": str,
    "sha256": str,
    "label": int,
    "class_name": str,
    "prompt": str,
    "seed": int,
    "strategy": str,
    "guidance": dict,
    "guides": list,
    "source": (dict, type(None)),
    "round": int,
    "generator": str,
    "generator_hash": str,
    "classifier_accuracy": float,
    "guide_probability": (float, type(None)),
    "guide_predicted": (str, type(None)),
    "probability": float,
    "predicted": str,
    "margin": float,
    "seconds": float,
}


# what a run leaves behind


def test_the_folder_holds_what_the_readme_says(finished: Path) -> None:
    names = {"recipe.toml", "stats.jsonl", "summary.json", "store", "checkpoints", "previews", "rounds", "report.html"}
    assert names <= {path.name for path in finished.iterdir()}
    assert not [name for name in tree(finished) if name.endswith(".part")]
    assert (finished / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_the_recipe_is_complete(finished: Path, recipe: Recipe) -> None:
    assert (finished / "recipe.toml").read_text(encoding="utf-8") == to_toml(recipe)
    assert build_recipe(finished / "recipe.toml") == recipe


def test_every_image_has_a_whole_line(finished: Path, digits: Path, tiny_generator: Path) -> None:
    rows = read_lines(finished / "store" / "metadata.jsonl")
    assert len(rows) == IMAGES == len({row["key"] for row in rows})
    for row in rows:
        assert {key: row[key] for key, kind in MANIFEST.items() if isinstance(row[key], kind)}.keys() == MANIFEST.keys()
        data = (finished / "store" / row["file_name"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == row["sha256"]
        assert row["class_name"] == sorted(CLASSES)[row["label"]]
        assert (row["strategy"], row["generator"]) == ("actgen", str(tiny_generator))
        assert len(row["generator_hash"]) == 64
        assert 0 <= row["probability"] <= 1
        assert row["margin"] <= row["probability"]
        assert (row["margin"] > 0) == (row["predicted"] == row["class_name"])
        assert (row["guide_predicted"] is None) == (row["guide_probability"] is None)
        assert row["guide_predicted"] != row["class_name"]
        assert 0 <= row["classifier_accuracy"] <= 100
        assert row["round"] in (0, 1)
        if row["source"] is not None:
            assert (digits / row["source"]["key"]).is_file()
            assert 0 <= row["guide_probability"] <= 0.5
    assert not any("adversarial" in row["guides"] for row in rows if row["round"] == 0)
    assert all(row["guides"] for row in rows if row["round"] == 1)
    assert any("adversarial" in row["guides"] for row in rows)


def test_hugging_face_reads_the_store(finished: Path, tmp_path: Path) -> None:
    import datasets

    store = finished / "store"
    loaded = datasets.load_dataset("imagefolder", data_dir=str(store), cache_dir=str(tmp_path), split="train")
    rows = read_lines(store / "metadata.jsonl")
    assert len(loaded) == len(rows)
    by_key = {row["key"]: row for row in rows}
    for example in loaded:
        row = by_key.pop(example["key"])
        for key in (
            "label",
            "prompt",
            "seed",
            "strategy",
            "round",
            "sha256",
            "probability",
            "source",
            "guidance",
            "guides",
        ):
            assert example[key] == row[key]
        with Image.open(store / row["file_name"]) as image:
            assert example["image"].tobytes() == image.tobytes()
    assert by_key == {}


def test_statistics_add_up(finished: Path) -> None:
    rows = read_lines(finished / "stats.jsonl")
    real, held = len(CLASSES) * TRAIN_IMAGES, len(CLASSES) * TRAIN_IMAGES // 10
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3]
    assert [row["real_images"] for row in rows] == [real - held, real - held, real, real]
    assert [row["synthetic_images"] for row in rows] == [0, IMAGES // 2, IMAGES, IMAGES]
    assert [row["optimizer_steps"] for row in rows] == [4, 8, 12, 16]
    assert summary(finished)["test_accuracy"] == rows[-1]["test_accuracy"]
    assert set(rows[-1]["per_class"]) == set(CLASSES)


# the same again


def test_running_a_finished_run_again_changes_nothing(finished: Path, digits: Path, tiny_generator: Path) -> None:
    before = tree(finished)
    result = CliRunner().invoke(app, command(digits, tiny_generator, finished), catch_exceptions=False)
    assert result.exit_code == 0
    assert tree(finished) == before


def test_a_finished_run_that_lost_its_page_gets_it_back(finished: Path, recipe: Recipe) -> None:
    page = finished / "report.html"
    text = page.read_bytes()
    page.unlink()
    try:
        run(recipe, finished)
        assert page.read_bytes() == text
    finally:
        page.write_bytes(text)


def test_the_same_seed_gives_the_same_run(finished: Path, recipe: Recipe, tmp_path: Path) -> None:
    run(recipe, tmp_path / "second")
    assert_same_run(finished, tmp_path / "second")


# stopped and continued


def test_a_run_stopped_after_an_epoch_continues_as_if_it_was_not(finished: Path, recipe: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(Stopped):
        run(recipe, out, callbacks=Callbacks(on_epoch=after_epoch(1)))
    assert not (out / "summary.json").exists()
    again: list[int] = []
    run(recipe, out, callbacks=Callbacks(on_epoch=lambda stats: again.append(stats.epoch)))
    assert again == [2, 3]
    assert_same_run(finished, out)


def test_a_run_stopped_within_a_round_continues_as_if_it_was_not(finished: Path, recipe: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "run"
    calls = 0

    def stop(done: int, of: int) -> None:
        nonlocal calls
        calls += 1
        if calls == of + 11:  # the third image of the second batch of the second round
            raise Stopped

    with pytest.raises(Stopped):
        run(recipe, out, callbacks=Callbacks(on_sample=stop))
    assert len(read_lines(out / "store" / "metadata.jsonl")) == IMAGES // 2 + 13  # the second batch was committed whole
    run(recipe, out)
    assert_same_run(finished, out)


def test_without_its_checkpoint_a_run_starts_again_and_older_images_are_set_aside(
    finished: Path, recipe: Recipe, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    shutil.rmtree(out / "checkpoints")
    (out / "summary.json").unlink()
    first, *others = (out / "store" / "metadata.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    row = json.loads(first)  # a first image of other pixels, as another version or machine may have generated it
    Image.new("RGB", (32, 32)).save(out / "store" / row["file_name"])
    row["sha256"] = hashlib.sha256((out / "store" / row["file_name"]).read_bytes()).hexdigest()
    (out / "store" / "metadata.jsonl").write_text("".join([json.dumps(row) + "\n", *others]), encoding="utf-8")
    run(recipe, out)
    aside = f"{row['key']}-{row['sha256'][:16]}"
    assert {path.name for path in (out / "store_set_aside").iterdir()} == {f"{aside}.png", f"{aside}.json"}
    shutil.rmtree(out / "store_set_aside")
    assert_same_run(finished, out)


def test_another_generator_is_refused_at_the_continuation(finished: Path, recipe: Recipe) -> None:
    before = tree(finished)
    training = open_run(recipe, finished)
    assert training.round is not None
    assert isinstance(training.round.sampler, ImageSampler)
    training.round.sampler.adapter.weights_hash = "another"
    with pytest.raises(UserError, match="the generator changed since"):
        next(iter(fit(training)))
    assert tree(finished) == before


def test_a_round_looks_at_the_held_out_images_once(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []

    def counted(images: ImageSet, size: int, indices: Sequence[int] | None, view: View) -> Tensor:
        looks.append(size)
        return to_pixels(images, size, indices, view)

    monkeypatch.setattr("actgen.classifiers.predictions.to_pixels", counted)
    stats = next(iter(fit(open_run(replace(recipe, generation=replace(recipe.generation, budget=0.02)), tmp_path))))
    assert stats.holdout_accuracy is not None
    assert len(looks) == 1


# what it will cost


def test_an_estimate_counts_grown_epochs_and_draws_with_every_force(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generated: list[tuple[tuple[str, ...], int]] = []
    generate = ImageSampler.generate

    def watched(sampler: ImageSampler, requests: Sequence[Request], context: SamplingContext) -> Iterator[Sample]:
        generated.append((requests[0].guides, len(sampler.bank)))
        return generate(sampler, requests, context)

    monkeypatch.setattr(ImageSampler, "generate", watched)
    grow = replace(recipe, training=replace(recipe.training, epoch_length="grow"))
    found = estimate(grow, tmp_path / "run")
    assert found.optimizer_steps == 4 + 4 + 5 + 5  # 108, 108 + 18, 120 + 36 and 120 + 36 images in batches of 32
    assert estimate(recipe, tmp_path / "run").optimizer_steps == 16
    assert {"adversarial", "contrastive", "image"} in [set(guides) for guides, remembered in generated if remembered]
    assert found.generation_seconds > 0
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("epochs", "until"), [(1, 0.5), (4, 0.1)])
def test_a_budget_without_an_epoch_to_spend_it_is_refused(recipe: Recipe, tmp_path: Path, epochs: int, until: float) -> None:
    never = replace(
        recipe, training=replace(recipe.training, epochs=epochs), generation=replace(recipe.generation, until=until)
    )
    with pytest.raises(UserError, match=f"training.epochs = {epochs} with generation.until = {until}"):
        open_run(never, tmp_path / "run")
    assert open_run(replace(never, generation=replace(never.generation, budget=0.0)), tmp_path / "run").budget.generating == 0
    assert open_run(replace(never, strategy="none"), tmp_path / "run").round is None


# the other arms


@pytest.mark.parametrize("strategy", ["none", "text-only"])
def test_the_arms_are_comparable(finished: Path, recipe: Recipe, tmp_path: Path, strategy: str) -> None:
    arm = run(replace(recipe, strategy=strategy), tmp_path / "arm")
    actgen = summary(finished)
    assert arm["optimizer_steps"] == actgen["optimizer_steps"]
    assert arm["synthetic_images"] == (0 if strategy == "none" else actgen["synthetic_images"])
    rows = read_lines(tmp_path / "arm" / "stats.jsonl")
    assert [row["optimizer_steps"] for row in rows] == [4, 8, 12, 16]
    assert {row["real_images"] for row in rows} == {len(CLASSES) * TRAIN_IMAGES}
    if strategy == "text-only":
        lines = read_lines(tmp_path / "arm" / "store" / "metadata.jsonl")
        assert len(lines) == IMAGES
        assert {(row["source"], row["guide_probability"], len(row["guides"])) for row in lines} == {(None, None, 0)}
    assert (tmp_path / "arm" / "report.html").is_file()
