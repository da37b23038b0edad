"""A whole demo on real digits: three comparable arms, a summary of a fixed shape, and a page that opens in a browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright
from typer.testing import CliRunner

from actgen.cli.app import app
from tests.conftest import CLASSES, TEST_IMAGES, read_lines, tree
from tests.support.browser import BINARY, FLAGS, check_page

ARMS = ["none", "text-only", "actgen"]
MEASURED = {
    "test_accuracy",
    "validation_accuracy",
    "synthetic_images",
    "train_seconds",
    "generation_seconds",
    "optimizer_steps",
}
EPOCHS = 4


def command(digits: Path, generator: Path, out: Path) -> list[str]:
    settings = (
        f"data={digits}",
        f"generator={generator}",
        f"training.epochs={EPOCHS}",
        "training.batch_size=32",
        "generation.budget=0.1",
        "sampling.num_inference_steps=4",
    )
    return ["demo", "--out", str(out), "--seed", "1", *(part for each in settings for part in ("--set", each))]


@pytest.fixture(scope="module")
def finished(digits: Path, tiny_generator: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a demo that was run on the command line."""
    out = tmp_path_factory.mktemp("demo") / "out"
    result = CliRunner().invoke(app, command(digits, tiny_generator, out), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert str(out / "report.html") in result.output.replace("\n", "")
    assert all(arm in result.output for arm in ARMS)
    return out


def summary(out: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    return facts


def test_the_summary_has_its_shape(finished: Path, digits: Path, tiny_generator: Path) -> None:
    facts = summary(finished)
    assert list(facts) == ["arms", "seed", "data", "generator"]
    assert (facts["seed"], facts["data"], facts["generator"]) == (1, str(digits), str(tiny_generator))
    assert list(facts["arms"]) == ARMS
    for predictions in facts["arms"].values():
        assert set(predictions) == MEASURED
        assert 0 <= predictions["test_accuracy"] <= 100
        assert (predictions["test_accuracy"] * len(CLASSES) * TEST_IMAGES / 100).is_integer()
        assert predictions["train_seconds"] > 0


def test_the_arms_are_comparable(finished: Path) -> None:
    none, text_only, actgen = (summary(finished)["arms"][arm] for arm in ARMS)
    assert none["optimizer_steps"] == text_only["optimizer_steps"] == actgen["optimizer_steps"] == 4 * EPOCHS
    assert none["synthetic_images"] == none["generation_seconds"] == 0
    assert text_only["synthetic_images"] == actgen["synthetic_images"] == 12
    for arm, generated in (("text-only", 12), ("actgen", 12)):
        assert len(read_lines(finished / "arms" / arm / "store" / "metadata.jsonl")) == generated
    assert not (finished / "arms" / "none" / "store").exists()


def test_a_second_call_changes_nothing_and_opens_nothing(
    finished: Path, digits: Path, tiny_generator: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("a finished demo opened a run")

    before = tree(finished)
    monkeypatch.setattr("actgen.experiment.run.open_run", fail)
    monkeypatch.setattr("actgen.experiment.demo.open_run", fail)
    result = CliRunner().invoke(app, command(digits, tiny_generator, finished), catch_exceptions=False)
    assert result.exit_code == 0
    assert tree(finished) == before


@pytest.mark.skipif(BINARY is None, reason="no chromium, chromium-browser or google-chrome on the PATH")
def test_the_page_opens_in_a_browser(finished: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BINARY, args=list(FLAGS))
        check_page(browser.new_page(viewport={"width": 1200, "height": 800}), finished / "report.html")
        browser.close()
