"""A whole demo on real digits: five comparable ways to train, a table, and pages that open in a browser."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from actgen.core.assets import recipes_folder
from actgen.experiment.config import build_recipe
from actgen.studies.bench.pool import Event
from actgen.studies.demo import page_of, plan_demo, run_demo
from tests.conftest import CLASSES, read_lines, tree
from tests.support.browser import BINARY, FLAGS, check_page
from tests.support.command_line import run

LABELS, EPOCHS, BATCH = 5, 4, 8
CELLS = [("none", 0.0), ("mixup-cutmix", 0.0), ("text-only", 0.3), ("actgen", 0.3), ("text-only", 4.0)]


def settings(digits: Path, generator: Path) -> list[str]:
    return [
        f"data={digits}",
        f"generator={generator}",
        f"labels_per_class={LABELS}",
        f"training.epochs={EPOCHS}",
        "training.test_every=2",
        f"training.batch_size={BATCH}",
        "generation.every=1",
        "generation.holdout=0.2",
        "sampling.num_inference_steps=2",
    ]


def command(digits: Path, generator: Path, out: Path) -> list[str]:
    given = [part for each in settings(digits, generator) for part in ("--set", each)]
    return ["demo", "--out", str(out), "--label-sets", "0:1", *given]


@pytest.fixture(scope="module")
def finished(digits: Path, tiny_generator: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a demo that was run on the command line."""
    out = tmp_path_factory.mktemp("demo") / "out"
    printed = run(*command(digits, tiny_generator, out), "--processes", "1").stdout.replace("\n", "")
    assert str(out / "bench.html") in printed
    assert all(f"`{arm}`" in printed for arm, _ in CELLS)
    return out


def test_every_way_is_run(finished: Path) -> None:
    rows = read_lines(finished / "results.jsonl")
    assert sorted((row["arm"], row["budget"], row["label_set"]) for row in rows) == sorted((*cell, 0) for cell in CELLS)
    sets = [job.recipe.label_set for job in plan_demo([], (0, 1))]
    assert sets == [0] * len(CELLS) + [1] * len(CELLS)


def test_they_are_comparable(finished: Path) -> None:
    rows = read_lines(finished / "results.jsonl")
    real = LABELS * len(CLASSES)
    assert {row["optimizer_steps"] for row in rows} == {EPOCHS * -(-real // BATCH)}
    assert len({row["real_images_digest"] for row in rows}) == len({row["initial_weights"] for row in rows}) == 1
    for row in rows:
        assert row["synthetic_images"] == round(row["budget"] * real)


def test_a_second_call_changes_nothing_and_starts_nothing(
    finished: Path, digits: Path, tiny_generator: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("a finished demo started a process")

    before = tree(finished)
    monkeypatch.setattr("actgen.studies.bench.pool._start", fail)
    facts = json.loads(run(*command(digits, tiny_generator, finished), "--json").stdout)
    assert [(one["arm"], one["budget"]) for one in facts["arms"]].count(("text-only", 4.0)) == 1
    after = tree(finished)
    assert {name for name in before if before[name] != after.get(name)} <= {page_of(plan_demo([], (0,)), Path()).as_posix()}


def test_what_a_user_sets_wins_over_its_recipe() -> None:
    assert {job.recipe.training.test_every for job in plan_demo(["training.test_every=5"])} == {5}
    usual = build_recipe(recipes_folder() / "demo.toml").training.test_every
    assert {job.recipe.training.test_every for job in plan_demo([])} == {usual}


def test_a_run_that_fails_ends_it_with_the_reason(digits: Path, tiny_generator: Path, tmp_path: Path) -> None:
    wild = ["training.learning_rate=1000", "training.label_smoothing=0", "training.weight_decay=10"]
    jobs = plan_demo([*settings(digits, tiny_generator), *wild], (0,))
    events: list[Event] = []
    with pytest.raises(ValueError, match=r"runs failed: .*training loss is nan"):
        run_demo(jobs, tmp_path / "out", events.append, 1)
    assert events[-1].kind == "failed"


@pytest.mark.skipif(BINARY is None, reason="no chromium, chromium-browser or google-chrome on the PATH")
def test_the_page_of_a_run_opens_in_a_browser(finished: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BINARY, args=list(FLAGS))
        page = finished / page_of(plan_demo([], (0,)), Path())
        check_page(browser.new_page(viewport={"width": 1200, "height": 800}), page)
        browser.close()
