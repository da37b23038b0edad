"""Whole runs on the command line with tiny folders of transformer families: generated, trained on, generated again."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from actgen.cli.app import app
from tests.conftest import read_lines, write_digits
from tests.support.families import EULER_WARNING, save
from tests.support.transformer_families import TRANSFORMERS

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings(EULER_WARNING)]
FOLDERS = ("sd3", "flux-dev", "pixart", "sana", "qwen", "z-image")
SMALL = ["--set", "loading.image_size=32", "--set", "sampling.num_inference_steps=3"]
COLUMNS = {"key", "file_name", "sha256", "prompt", "seed", "strategy", "guides", "guidance", "generator_hash", "loading"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "digits"
    write_digits(root, "train", 0, 6)
    write_digits(root, "test", 6, 9)
    return root


@pytest.fixture(scope="module", params=FOLDERS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(TRANSFORMERS[request.param](), tmp_path_factory.mktemp("generator") / request.param)


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_class_names_become_a_store(folder: Path, tmp_path: Path) -> None:
    run("generate", "--generator", folder, "--classes", "coat,bag", "--count", 4, "--out", tmp_path / "store", *SMALL)
    rows = read_lines(tmp_path / "store" / "metadata.jsonl")
    assert [row["class_name"] for row in rows] == ["coat", "bag"] * 2
    assert all(set(row) >= COLUMNS for row in rows)


@pytest.mark.parametrize("strategy", ["text-only", "actgen", "selective"])
def test_two_epochs_are_trained_and_every_image_is_generated_again(
    folder: Path, data: Path, tmp_path: Path, strategy: str
) -> None:
    out, again = tmp_path / "run", tmp_path / "again"
    settings = ["model.image_size=32", "training.batch_size=16", "generation.until=1.0", "sampling.batch_size=3"]
    if strategy == "actgen":
        settings.append("mining.pool=holdout")
    fixed = ["--model", "actgen/small-cnn", "--epochs", 2, "--budget", 0.3, "--seed", 7, *SMALL]
    fixed += [part for setting in settings for part in ("--set", setting)]
    run("train", "--data", data, "--generator", folder, "--strategy", strategy, "--out", out, *fixed)
    rows = read_lines(out / "store" / "metadata.jsonl")
    assert len(rows) >= 7
    assert all(set(row) >= COLUMNS for row in rows)
    keys = [part for row in rows for part in ("--key", row["key"])]
    run("generate", "--from-manifest", out / "store", *keys, "--out", again)
    copies = {row["key"]: row["sha256"] for row in read_lines(again / "metadata.jsonl")}
    assert copies == {row["key"]: row["sha256"] for row in rows}
