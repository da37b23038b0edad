"""Image files that cannot be used: refused with the first one named, or left out, counted and told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from actgen.cli.app import app
from actgen.core.errors import UserError
from actgen.data.datasets.folder import FolderImages
from actgen.data.datasets.sources import RealData, load_data
from actgen.report.html import write_report


@pytest.fixture
def spoilt(tmp_path: Path) -> Path:
    """Two classes of four images with training and test images; of the cats two are no images, and a test image is none."""
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for number in range(4):
                Image.new("RGB", (8, 8), (60 * number, 9, 90)).save(tmp_path / "data" / split / name / f"{number}.png")
    (tmp_path / "data" / "train" / "cat" / "1.png").write_bytes(b"")
    (tmp_path / "data" / "train" / "cat" / "2.png").unlink()
    (tmp_path / "data" / "train" / "cat" / "2.png").symlink_to("/etc/hostname")
    (tmp_path / "data" / "test" / "dog" / "3.png").write_text("a text file\n", encoding="utf-8")
    return tmp_path / "data"


def skipped(data: Path) -> RealData:
    return load_data(str(data), "skip")


def test_the_rest_is_what_would_be_there_without_them(spoilt: Path) -> None:
    data = skipped(spoilt)
    for path in ("train/cat/1.png", "train/cat/2.png", "test/dog/3.png"):
        (spoilt / path).unlink()
    clean = load_data(str(spoilt))
    assert isinstance(data.train, FolderImages)
    assert (data.train, data.test) == (clean.train, clean.test)
    assert clean.left_out == ()
    assert [reason.partition(".png")[0][-5:] for reason in data.left_out] == ["cat/2", "cat/1", "dog/3"]


def test_refusing_is_what_happens_unless_told(spoilt: Path) -> None:
    with pytest.raises(UserError, match=r"cat/2\.png is a link to /etc/hostname, outside .*\n--on-bad-image skip"):
        load_data(str(spoilt))
    (spoilt / "train" / "cat" / "2.png").unlink()
    with pytest.raises(UserError, match=r"cat/1\.png: it is empty"):
        load_data(str(spoilt))


def test_too_few_left_is_refused_with_the_number_left_out(spoilt: Path) -> None:
    (spoilt / "train" / "cat" / "3.png").write_bytes(b"GIF89a")
    with pytest.raises(UserError, match=r"4 image files were left out, and .* fewer than 2 training images of: cat"):
        skipped(spoilt)


def test_an_unknown_choice_is_refused(spoilt: Path) -> None:
    with pytest.raises(UserError, match="'ignore' is unknown; allowed: refuse, skip"):
        load_data(str(spoilt), "ignore")


def test_a_run_tells_the_number_in_terminal_summary_recipe_and_page(spoilt: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = [
        "train",
        "--data",
        str(spoilt),
        "--out",
        str(out),
        "--strategy",
        "none",
        "--epochs",
        "1",
        "--set",
        "training.batch_size=4",
        "--on-bad-image",
        "skip",
    ]
    dry = CliRunner().invoke(app, [*arguments, "--dry-run"], catch_exceptions=False)
    assert "# left out: 3 files (cannot be used); the first: " in dry.stdout
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "3 image files left out; the first: " in result.stdout
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert (summary["left_out_images"], summary["real_images"]) == (3, 6)
    assert "cat/2.png is a link" in summary["left_out_first"]
    assert 'on_bad_image = "skip"' in (out / "recipe.toml").read_text(encoding="utf-8")
    assert "could not be used and were left out: 3." in write_report(out).read_text(encoding="utf-8")


def test_finetune_leaves_them_out_too(spoilt: Path, tmp_path: Path) -> None:
    arguments = [
        "finetune",
        "--from-scratch",
        "tiny",
        "--data",
        str(spoilt),
        "--out",
        str(tmp_path / "generator"),
        "--steps",
        "1",
        "--autoencoder-steps",
        "1",
        "--on-bad-image",
        "skip",
    ]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "3 image files left out" in result.stdout
    facts = json.loads((tmp_path / "generator" / "training.json").read_text(encoding="utf-8"))
    assert facts["images"] == 6


def test_folders_nested_without_end_are_refused(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name / "/".join(["d"] * (100 if name == "dog" else 1))).mkdir(parents=True)
        Image.new("L", (4, 4)).save(tmp_path / name / "a.png")
    with pytest.raises(UserError, match="more than 64 deep"):
        load_data(str(tmp_path))
