"""A manifest line is the image: every image of a run is generated again pixel for pixel, and what is missing is named."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from actgen.cli.app import app
from actgen.core.errors import UserError
from actgen.data.store.rounds import NoRoundFiles
from actgen.experiment.build import open_run
from actgen.experiment.config import Recipe
from actgen.experiment.reproduce import sampling_of
from actgen.generation.presets import PRESETS, SamplingConfig
from tests.conftest import Refuse, read_lines, tree

Rows = list[dict[str, Any]]


def again(store: Path, out: Path, *keys: str) -> list[str]:
    return ["generate", "--from-manifest", str(store), "--out", str(out), *(part for key in keys for part in ("--key", key))]


def lines(arguments: list[str]) -> list[str]:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def write_rows(store: Path, rows: Rows) -> None:
    store.mkdir(parents=True, exist_ok=True)
    (store / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture(scope="module")
def rows(finished: Path) -> Rows:
    return read_lines(finished / "store" / "metadata.jsonl")


@pytest.fixture
def bare(finished: Path, tmp_path: Path) -> Path:
    """A copy of the run with nothing but what generating again needs: recipe, manifest and rounds."""
    run = tmp_path / "bare"
    shutil.copytree(finished / "rounds", run / "rounds")
    (run / "store").mkdir()
    for name in ("recipe.toml", "store/metadata.jsonl"):
        shutil.copy(finished / name, run / name)
    return run


def key_with(rows: Rows, guide: str) -> str:
    """Return an image of the last round that the guide drew; "" is one without guides."""
    return next(str(row["key"]) for row in reversed(rows) if (guide in row["guides"] if guide else not row["guides"]))


# the same again


def test_every_image_of_a_run_is_drawn_again_pixel_for_pixel(finished: Path, bare: Path, rows: Rows, tmp_path: Path) -> None:
    assert {(row["round"], *row["guides"]) for row in rows} >= {
        (0,),
        (0, "image", "contrastive"),
        (1, "image", "contrastive"),
        (1, "image", "contrastive", "adversarial"),
    }
    keys = [row["key"] for row in rows]
    *found, last = lines(again(bare / "store", tmp_path / "out", *keys))
    assert sorted(found) == sorted(f"{key}  identical" for key in keys)
    assert last == f"{len(keys)} images in {tmp_path / 'out'}"
    generated = sorted(read_lines(tmp_path / "out" / "metadata.jsonl"), key=lambda row: keys.index(row["key"]))
    assert [{**row, "chain": None} for row in generated] == [{**row, "chain": None} for row in rows]
    assert tree(tmp_path / "out" / "images") == tree(finished / "store" / "images")


def test_single_images_are_drawn_from_data_and_a_generator_that_moved(
    bare: Path, rows: Rows, digits: Path, tiny_generator: Path, tmp_path: Path
) -> None:
    text = (bare / "recipe.toml").read_text(encoding="utf-8")
    (bare / "recipe.toml").write_text(text.replace(str(digits), "gone").replace(str(tiny_generator), "gone"), encoding="utf-8")
    write_rows(bare / "store", [{**row, "generator": "gone"} for row in rows])
    keys = [key_with(rows, "adversarial"), key_with(rows, "image")]
    now = ["--data", str(digits), "--generator", str(tiny_generator)]
    *found, _ = lines([*again(bare / "store", tmp_path / "out", *keys, keys[0]), *now])
    assert set(found) == {f"{key}  identical" for key in keys}
    assert [row["key"] for row in read_lines(tmp_path / "out" / "metadata.jsonl")] == [line.split()[0] for line in found]


def test_an_image_without_guides_needs_nothing_but_its_manifest(rows: Rows, tmp_path: Path) -> None:
    write_rows(tmp_path / "alone", rows)
    key = key_with(rows, "")
    assert lines(again(tmp_path / "alone", tmp_path / "out", key))[0] == f"{key}  identical"
    assert lines(again(tmp_path / "alone", tmp_path / "out", key))[0] == f"{key}  identical"
    assert len(read_lines(tmp_path / "out" / "metadata.jsonl")) == 1


def test_images_of_generate_are_drawn_again(tiny_generator: Path, tmp_path: Path) -> None:
    lines(
        [
            "generate",
            "--classes",
            "zero,one",
            "--generator",
            str(tiny_generator),
            "--out",
            str(tmp_path / "store"),
            "--count",
            "5",
            "--set",
            "sampling.num_inference_steps=2",
            "--set",
            "sampling.batch_size=2",
        ]
    )
    keys = [row["key"] for row in read_lines(tmp_path / "store" / "metadata.jsonl")]
    assert lines(again(tmp_path / "store", tmp_path / "out", keys[4], keys[1]))[:2] == [
        f"{keys[1]}  identical",
        f"{keys[4]}  identical",
    ]


def test_a_picture_that_differs_is_measured(finished: Path, rows: Rows, tmp_path: Path) -> None:
    row, store = next(row for row in rows if not row["guides"]), tmp_path / "store"
    with Image.open(finished / "store" / row["file_name"]) as image:
        level = image.getpixel((3, 4))
        assert isinstance(level, tuple)
        image.putpixel((3, 4), (level[0], level[1], (level[2] + 100) % 256))
        picture = io.BytesIO()
        image.save(picture, "PNG")
    wrong = [{**one, "sha256": hashlib.sha256(picture.getvalue()).hexdigest()} if one is row else one for one in rows]
    write_rows(store, wrong)
    unknown = lines(again(store, tmp_path / "one", row["key"]))[0]
    assert "cannot be told" in unknown
    (store / "images").mkdir()
    (store / row["file_name"]).write_bytes(picture.getvalue())
    levels = abs((level[2] + 100) % 256 - level[2])
    found = lines(again(store, tmp_path / "other", row["key"]))[0]
    assert found == f"{row['key']}  differs by at most {levels} of 255 grey levels, in 1 pixels"


# settings of a line


def test_settings_that_a_line_does_not_name_are_the_defaults() -> None:
    assert sampling_of({"key": "a", "guidance": {}}) == SamplingConfig()
    part = {"guidance_scale": 2, "image": {"offset": 18.0}}
    assert sampling_of({"key": "a", "guidance": part}) == SamplingConfig(
        guidance_scale=2.0, image=replace(PRESETS["tiny"].image, noise="own")
    )


def test_settings_that_are_not_known_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"settings of a .* unknown key sampling\.image\.strenght\. Did you mean sampling\.image\.stre"
    ):
        sampling_of({"key": "a", "guidance": {"image": {"strenght": 1.0}}})


# what is refused


def test_without_replay_a_run_keeps_no_files(recipe: Recipe, tmp_path: Path) -> None:
    off = replace(recipe, generation=replace(recipe.generation, replay=False))
    for one, kept in ((recipe, True), (off, False)):
        round_ = open_run(one, tmp_path).round
        assert round_ is not None
        assert isinstance(round_.files, NoRoundFiles) != kept


def test_one_of_the_two_uses(refuse: Refuse, finished: Path, rows: Rows, tmp_path: Path) -> None:
    store, out, key = finished / "store", tmp_path / "out", rows[0]["key"]
    assert "neither of --classes and --from-manifest" in refuse("generate", "--out", str(out))
    assert "both of --classes and --from-manifest" in refuse(*again(store, out, key), "--classes", "zero")
    assert "--key, --data cannot go with --classes" in refuse(
        "generate", "--classes", "zero", "--out", str(out), "--key", key, "--data", "there"
    )
    message = refuse(*again(store, out, key), "--count", "3", "--seed", "1", "--set", "sampling.eta=1")
    assert "--count, --seed, --set cannot go with --from-manifest" in message


def test_stores_and_keys_that_are_not_there(refuse: Refuse, finished: Path, rows: Rows, tmp_path: Path) -> None:
    store, out = finished / "store", tmp_path / "out"
    assert f"Give {store}." in refuse(*again(finished, out, "r000-00000"))
    assert "no metadata.jsonl" in refuse(*again(tmp_path / "nowhere", out, "r000-00000"))
    assert f"for example --key {rows[0]['key']}" in refuse(*again(store, out))
    assert "holds no image 'r001-0003'. Near that: r001-000" in refuse(*again(store, out, rows[0]["key"], "r001-0003"))
    assert "is the store itself" in refuse(*again(store, store, rows[0]["key"]))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo").touch()
    assert "holds no store" in refuse(*again(store, tmp_path / "mine", rows[0]["key"]))
    write_rows(tmp_path / "empty", [])
    assert "holds no images" in refuse(*again(tmp_path / "empty", out, "r000-00000"))
    write_rows(tmp_path / "short", [{"key": "a", "file_name": "images/a.png"}])
    assert "the line of a has no sha256, label" in refuse(*again(tmp_path / "short", out, "a"))


def test_another_generator(refuse: Refuse, finished: Path, rows: Rows, tmp_path: Path) -> None:
    key = key_with(rows, "")
    write_rows(tmp_path / "store", [{**row, "generator_hash": "0" * 64} for row in rows])
    assert f"has other weights than the one that made {key}" in refuse(*again(tmp_path / "store", tmp_path / "out", key))
    write_rows(tmp_path / "store", [{**row, "generator": str(tmp_path)} for row in rows])
    assert "if that has moved, give --generator" in refuse(*again(tmp_path / "store", tmp_path / "out", key))


@pytest.mark.parametrize(
    ("guide", "lost", "words"),
    [
        ("contrastive", "rounds/0000-latents.safetensors", ["is missing", "generation.replay = false"]),
        ("adversarial", "rounds/0001-classifier.safetensors", ["is missing", "generation.replay = false"]),
        ("image", "recipe.toml", ["holds no recipe.toml", "inside the folder of the run"]),
    ],
)
def test_what_a_guide_looked_at_is_gone(
    refuse: Refuse, bare: Path, rows: Rows, tmp_path: Path, guide: str, lost: str, words: list[str]
) -> None:
    (bare / lost).unlink()
    message = refuse(*again(bare / "store", tmp_path / "out", key_with(rows, guide)))
    assert [word for word in [lost.partition("/")[2], key_with(rows, guide), *words] if word not in message] == []


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def test_damaged_weights_of_a_round(refuse: Refuse, bare: Path, rows: Rows, tmp_path: Path) -> None:
    cut(bare / "rounds" / "0001-classifier.safetensors")
    message = refuse(*again(bare / "store", tmp_path / "out", key_with(rows, "adversarial")))
    assert "0001-classifier.safetensors cannot be read" in message


def fewer_images(data: Path) -> None:
    for path in data.rglob("*.png"):
        path.rename(path.with_stem("x" + path.stem))


def gone(data: Path) -> None:
    shutil.rmtree(data)


@pytest.mark.parametrize(("change", "words"), [(fewer_images, "Give the data that"), (gone, "if they have moved, give --data")])
def test_data_that_changed(
    refuse: Refuse, bare: Path, rows: Rows, digits: Path, tmp_path: Path, change: Callable[[Path], None], words: str
) -> None:
    data = tmp_path / "data"
    shutil.copytree(digits, data)
    change(data)
    message = refuse(*again(bare / "store", tmp_path / "out", key_with(rows, "image")), "--data", str(data))
    assert words in message
