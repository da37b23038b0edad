"""The package as it is built: what is in the wheel, how large it is, that it runs on its own; what an index shows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from tools.pypi_readme import absolute

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MOST = 30 * 2**20  # bytes of a wheel


def test_extras_and_urls_are_there() -> None:
    assert {"lora", "datasets", "lightning", "track"} <= PROJECT["optional-dependencies"].keys()
    assert PROJECT["urls"]
    assert all(url.startswith("https://") for url in PROJECT["urls"].values())


def test_every_dependency_has_a_lower_bound() -> None:
    assert [one for one in PROJECT["dependencies"] if ">=" not in one] == []


def test_what_an_index_shows_has_no_relative_link() -> None:
    base = "https://example.org/owner/actgen/blob/v1"
    text = absolute((ROOT / "README.md").read_text(encoding="utf-8"), base)
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    assert targets
    assert [target for target in targets if not target.startswith(("https://", "#"))] == []
    assert "![" in text
    for target in targets:
        if target.startswith(base.replace("/blob/", "/")) or target.startswith(base):
            path = target.removeprefix(f"{base}/").partition("#")[0]
            assert (ROOT / path).exists(), target


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_wheel_stands_alone(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "wheel", "-q", "--no-deps", "--wheel-dir", tmp_path / "dist", source], check=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    assert wheel.stat().st_size < MOST
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "actgen/cli/field_help.json" in names
    assert any(name.endswith("unet/diffusion_pytorch_model.safetensors") for name in names)
    subprocess.run([*pip, "install", "-q", "--no-deps", "--target", tmp_path / "site", wheel], check=True)
    where = {"PYTHONPATH": str(tmp_path / "site"), "OMP_NUM_THREADS": "1"}
    for arguments in (["demo", "--help"], ["data", "fashion-mnist-mini"]):
        done = subprocess.run(
            [sys.executable, "-m", "actgen", *arguments],
            cwd=tmp_path,
            env={**os.environ, **where},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout
    assert "train: 2000 images" in done.stdout
