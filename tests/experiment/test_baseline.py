"""A run with `--baseline`: the same seed, steps and weights on real images only, and a verdict at the end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from actgen.cli.app import app
from tests.conftest import command, tree


def summary(folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return facts


def test_a_finished_run_gets_its_baseline_and_a_verdict(
    digits: Path, tiny_generator: Path, finished: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    again = [*command(digits, tiny_generator, out), "--baseline"]
    done = CliRunner().invoke(app, again, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    run, base = summary(out), summary(out / "baseline")
    for key in ("seed", "optimizer_steps", "initial_weights", "test_digest", "real_images_digest", "epochs"):
        assert run[key] == base[key], key
    assert (base["strategy"], base["synthetic_images"]) == ("none", 0)
    (verdict,) = [line for line in done.output.splitlines() if line.startswith(("Helped: ", "Harmed: ", "Cannot tell: "))]
    assert "points against real only (95% interval" in verdict
    assert "McNemar" in verdict
    assert f"next: actgen bench {out}/recipe.toml --seeds 0:5" in done.output
    assert verdict in (out / "report.html").read_text(encoding="utf-8")
    first = tree(out / "baseline")
    assert CliRunner().invoke(app, again, catch_exceptions=False).exit_code == 0
    assert tree(out / "baseline") == first  # an equal finished run is read, not done again


def test_a_baseline_of_real_images_only_is_refused_before_anything_is_made(digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["train", "--data", str(digits), "--out", str(out), "--strategy", "none", "--baseline"])
    assert done.exit_code != 0
    assert "--baseline" in str(done.exception) + done.output
    assert not out.exists()
