"""Filters in a whole run: continued as if never stopped, generated again to the pixel, shown, and a planted store refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from actgen.cli.app import app
from actgen.core.errors import UserError
from actgen.data.datasets.sources import load_data
from actgen.data.store.manifest import Manifest
from actgen.data.store.rejections import in_order, read_rejections
from actgen.data.store.store import Store
from actgen.experiment.config import Recipe, build_recipe, to_toml
from actgen.experiment.run import run
from actgen.generation.filters.options import Filters
from actgen.generation.strategies.retry import attempt_of
from actgen.training.callbacks import Callbacks
from actgen.training.schedule import with_rejections
from tests.conftest import Refuse, command, read_lines, tree
from tests.support.spread import middle_spread
from tests.support.stopped_runs import Stopped, after_epoch
from tests.support.whole_runs import IMAGES, assert_same_run, summary


@pytest.fixture(scope="module")
def strict(recipe: Recipe, finished: Path) -> Recipe:
    """The recipe with a filter that refuses about half of what its generator generates, and one that looks at the
    classifier."""
    half = middle_spread(Store(finished / "store"))
    return replace(recipe, filters=Filters(emptiness=half, consistency="top-k", top_k=3, keep_rejected=True))


@pytest.fixture(scope="module")
def filtered(strict: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("filtered") / "run"
    run(strict, out)
    return out


def test_kept_and_refused_add_up_everywhere(filtered: Path) -> None:
    kept, rejected = read_lines(filtered / "store" / "metadata.jsonl"), read_lines(filtered / "rejected.jsonl")
    stats, end = read_lines(filtered / "stats.jsonl"), summary(filtered)
    assert 0 < len(kept) <= IMAGES
    assert {row["filter"] for row in rejected} == {"emptiness", "consistency"}
    assert end["synthetic_images"] == end["filters"]["kept"] == len(kept)
    assert end["filters"]["generated"] == len(kept) + len(rejected)
    for number, row in enumerate(stats):
        counts = row["filters"]
        assert counts["kept"] == sum(one["round"] == number for one in kept)
        assert counts["generated"] == counts["kept"] + sum(one["round"] == number for one in rejected)
        assert sum(counts["rejected"].values()) == counts["generated"] - counts["kept"]
    assert end["filters"]["filters"]["emptiness"]["generated"] == end["filters"]["generated"]
    assert end["filters"]["filters"]["consistency"]["kept"] == len(kept)
    assert not {row["key"] for row in kept} & {row["key"] for row in rejected}


def test_what_was_refused_is_made_up_for_within_bounds(filtered: Path) -> None:
    first, second = (row["filters"] for row in read_lines(filtered / "stats.jsonl")[:2])
    planned = [
        sum(
            attempt_of(row["key"]) == 0 and row["round"] == number
            for row in [*read_lines(filtered / "store" / "metadata.jsonl"), *read_lines(filtered / "rejected.jsonl")]
        )
        for number in (0, 1)
    ]
    assert planned[0] == IMAGES // 2
    assert planned[1] == IMAGES - first["kept"]
    assert second["generated"] <= 2 * planned[1]


@pytest.mark.parametrize(
    ("missing", "rejected", "share", "asked"),
    [(10, 0, 10, 10), (30, 0, 10, 30), (14, 4, 10, 14), (40, 100, 10, 20), (40, 15, 10, 25), (0, 50, 10, 0), (5, 50, 0, 0)],
)
def test_a_round_makes_up_for_refusals_by_at_most_its_share(missing: int, rejected: int, share: int, asked: int) -> None:
    assert with_rejections(missing, rejected, share) == asked


def test_a_run_stopped_after_an_epoch_continues_as_if_it_was_not(filtered: Path, strict: Recipe, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        run(strict, tmp_path / "run", callbacks=Callbacks(on_epoch=after_epoch(0)))
    run(strict, tmp_path / "run")
    assert_same_filtered(filtered, tmp_path / "run")


def test_a_run_stopped_within_a_round_continues_as_if_it_was_not(filtered: Path, strict: Recipe, tmp_path: Path) -> None:
    left = read_lines(filtered / "stats.jsonl")[0]["filters"]["kept"] + 3

    def stop(done: int, of: int) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Stopped

    with pytest.raises(Stopped):
        run(strict, tmp_path / "run", callbacks=Callbacks(on_sample=stop))
    assert len(read_lines(tmp_path / "run" / "rejected.jsonl")) > 0
    run(strict, tmp_path / "run")
    assert_same_filtered(filtered, tmp_path / "run")


def assert_same_filtered(one: Path, other: Path) -> None:
    assert_same_run(one, other)
    assert (one / "rejected.jsonl").read_bytes() == (other / "rejected.jsonl").read_bytes()
    assert tree(one / "set_aside") == tree(other / "set_aside")


def test_every_image_is_drawn_again_though_others_of_its_batch_were_refused(filtered: Path, tmp_path: Path) -> None:
    stored = Manifest(filtered / "store" / "metadata.jsonl").rows()
    order = [str(row["key"]) for row in in_order(stored, read_rejections(filtered))]
    assert len(order) > len(stored)
    keys = [stored[0]["key"], stored[-1]["key"], next(row["key"] for row in stored if attempt_of(row["key"]))]
    arguments = ["generate", "--from-manifest", str(filtered / "store"), "--out", str(tmp_path / "again")]
    result = CliRunner().invoke(app, [*arguments, *(part for key in keys for part in ("--key", key))], catch_exceptions=False)
    assert result.exit_code == 0
    for key in keys:
        again, first = tmp_path / "again" / "images" / f"{key}.png", filtered / "store" / "images" / f"{key}.png"
        assert again.read_bytes() == first.read_bytes()


def test_the_page_says_what_was_refused_and_why(filtered: Path, finished: Path) -> None:
    page = (filtered / "report.html").read_text(encoding="utf-8")
    rates = summary(filtered)["filters"]
    assert "<h2>Filters</h2>" in page
    assert f"{100 * rates['filters']['emptiness']['keep_rate']:.1f}%" in page
    assert read_lines(filtered / "rejected.jsonl")[0]["reason"] in page
    assert page.count('alt="refused, ') == min(12, len(read_lines(filtered / "rejected.jsonl")))
    plain = (finished / "report.html").read_text(encoding="utf-8")
    assert f"{IMAGES} of {IMAGES} generated images passed the filters (emptiness, leakage)" in plain


def test_filters_are_part_of_the_recipe(strict: Recipe, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(to_toml(strict), encoding="utf-8")
    assert build_recipe(path) == strict
    assert build_recipe(None, ["filters.leakage=false"]).filters == Filters(leakage=False)
    with pytest.raises(UserError, match=r"Did you mean filters\.leakage"):
        build_recipe(None, ["filters.leakge=false"])


def test_a_run_whose_store_had_test_images_planted_is_refused(
    finished: Path, digits: Path, tiny_generator: Path, tmp_path: Path, refuse: Refuse
) -> None:
    """After a stop: the last image that passed is exchanged, and one more is added, as a merge of folders may do."""
    test = load_data(str(digits)).test
    assert test is not None
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    (out / "summary.json").unlink()
    rows = read_lines(out / "store" / "metadata.jsonl")
    test.image(3).resize((32, 32)).save(out / "store" / rows[-1]["file_name"])
    test.image(12).save(out / "store" / "images" / "planted.png")
    with (out / "store" / "metadata.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({**rows[-1], "key": "planted", "file_name": "images/planted.png"}) + "\n")
    message = refuse(*command(digits, tiny_generator, out))
    assert "holds 2 image(s) too near to test images" in message
    assert f"{rows[-1]['key']} is {test.keys[3]}" in message
    assert f"planted is {test.keys[12]}" in message


def test_the_budget_moves_away_from_what_is_refused(strict: Recipe, tmp_path: Path) -> None:
    shifting = replace(
        strict,
        strategy="text-only",
        model=replace(strict.model, name="actgen/tiny-cnn"),
        training=replace(strict.training, epochs=6),
        generation=replace(strict.generation, shift_budget=True, budget=1.0, until=0.9),
    )
    run(shifting, tmp_path / "run")
    kept, rejected = read_lines(tmp_path / "run" / "store" / "metadata.jsonl"), read_lines(tmp_path / "run" / "rejected.jsonl")

    def share(label: int, rounds: set[int]) -> float:
        asked = [row["label"] for row in [*kept, *rejected] if row["round"] in rounds and attempt_of(row["key"]) == 0]
        return asked.count(label) / len(asked)

    first = {row["label"]: 0 for row in [*kept, *rejected]}
    for row in kept:
        first[row["label"]] += row["round"] == 0
    worst, best = min(first, key=first.__getitem__), max(first, key=first.__getitem__)
    assert first[worst] < first[best]
    assert share(worst, {0}) == pytest.approx(share(best, {0}), abs=0.1)
    assert share(worst, {1, 2, 3, 4}) < share(best, {1, 2, 3, 4})
    with pytest.raises(Stopped):
        run(shifting, tmp_path / "stopped", callbacks=Callbacks(on_epoch=after_epoch(2)))
    run(shifting, tmp_path / "stopped")
    assert_same_run(tmp_path / "run", tmp_path / "stopped")
