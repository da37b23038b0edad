"""A run with given masks: it holds its guides' pixels, is generated again the same, and refuses what cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from actgen.cli.app import app
from actgen.core.errors import UserError
from actgen.data.datasets.decoding import read_image
from actgen.data.datasets.imageset import fit_square
from actgen.data.datasets.masks import DARK
from actgen.experiment.build import open_data
from actgen.experiment.compatibility import check_compatible
from actgen.experiment.config import Recipe, build_recipe
from actgen.experiment.reproduce import regenerate
from tests.conftest import Refuse, read_lines


@pytest.fixture(scope="module")
def masks(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits themselves, as masks."""
    path = tmp_path_factory.mktemp("masks") / "digits.npy"
    images = open_data(build_recipe(flags={"data": str(digits)})).train
    np.save(path, np.stack([np.asarray(images.image(i)).max(axis=2) > DARK for i in range(len(images.labels))]))
    return path


@pytest.fixture(scope="module")
def run(digits: Path, tiny_generator: Path, masks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("given") / "run"
    settings = ["sampling.num_inference_steps=2", "generation.curriculum=false", "training.batch_size=32", "images=80"]
    result = CliRunner().invoke(
        app,
        [
            "train",
            "--data",
            str(digits),
            "--generator",
            str(tiny_generator),
            "--masks",
            str(masks),
            "--strategy",
            "attentive",
            "--model",
            "actgen/tiny-cnn",
            "--epochs",
            "2",
            "--budget",
            "0.1",
            "--out",
            str(out),
            *(part for one in settings for part in ("--set", one)),
        ],
        catch_exceptions=False,
    )
    assert result.exit_code == 0, result.output
    return out


def test_its_images_hold_the_pixels_of_their_guides_and_are_generated_again_the_same(run: Path, tmp_path: Path) -> None:
    rows, real = read_lines(run / "store" / "metadata.jsonl"), open_data(build_recipe(run / "recipe.toml")).train
    assert len(rows) == 8
    index = {key: number for number, key in enumerate(real.keys)}
    for row in rows:
        assert row["guidance"]["image"]["mask"] == "given"
        assert len(row["held"]) == 64
        image = read_image(run / "store" / row["file_name"])
        guide = real.image(index[row["source"]["key"]])
        shown = np.kron(np.asarray(guide).max(axis=2) > DARK, np.ones((image.height // guide.height,) * 2)).astype(bool)
        assert np.array_equal(np.asarray(image)[shown], np.asarray(fit_square(guide, image.height))[shown])
        assert not np.array_equal(np.asarray(image), np.asarray(fit_square(guide, image.height)))
    again = list(regenerate(run / "store", [row["key"] for row in rows], tmp_path / "again"))
    assert [one.differs for one in again] == [(0, 0)] * 8


def test_other_masks_are_not_taken_for_those_of_the_run(run: Path, masks: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "other.npy", ~np.load(masks))
    key = read_lines(run / "store" / "metadata.jsonl")[0]["key"]
    with pytest.raises(UserError, match=r"is not the one that .* was generated with"):
        list(regenerate(run / "store", [key], tmp_path / "out", masks=str(tmp_path / "other.npy")))


def test_masks_and_their_use_come_together() -> None:
    assert build_recipe(flags={"masks": "foreground"}).sampling.image.mask == "given"
    assert build_recipe().sampling.image.mask != "given"
    check_compatible(build_recipe(flags={"masks": "foreground"}), 0)
    with pytest.raises(UserError, match=r"needs masks. Give --masks DIR"):
        check_compatible(build_recipe(settings=["sampling.image.mask=given"]), 0)
    with pytest.raises(UserError, match=r"would not be used with sampling.image.mask = 'unit'"):
        check_compatible(build_recipe(settings=["sampling.image.mask=unit"], flags={"masks": "foreground"}), 0)
    assert Recipe().masks == ""


def test_missing_masks_end_before_anything_is_written(refuse: Refuse, digits: Path, tiny_generator: Path) -> None:
    said = refuse("train", "--data", str(digits), "--generator", str(tiny_generator), "--masks", "nowhere", "--out", "out")
    assert "there is no such folder or .npy file" in said
