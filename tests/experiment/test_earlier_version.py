"""What the version before the last renaming wrote is still read; its recipe keys are, with a warning that names the new one."""

from __future__ import annotations

import json
import shutil
import tomllib
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from actgen.core.errors import RenamedKey, UserError
from actgen.data.store.columns import current
from actgen.data.store.manifest import Manifest
from actgen.data.store.rejections import read_rejections
from actgen.data.store.store import MANIFEST
from actgen.data.store.verify import verify
from actgen.experiment.config import Recipe, build_recipe, flat, read_recipe_of
from actgen.experiment.export import export_store
from actgen.experiment.renamed_keys import KEYS, current_name
from actgen.experiment.reproduce import regenerate
from actgen.experiment.run import run
from actgen.report.html import write_report

WRITTEN = Path(__file__).parents[1] / "support" / "data" / "run-3ba9919"
"""By `actgen train --recipe fashion-mnist-500 --strategy attentive --epochs 2 --budget 0.06` and what its recipe.toml says."""
OLD = flat(tomllib.loads((WRITTEN / "recipe.toml").read_text(encoding="utf-8")))
RENAMED = [key for key in OLD if current_name(key) != key]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(WRITTEN, tmp_path / "run"))


def test_every_key_of_then_is_known_and_every_renamed_section_is_there() -> None:
    assert {current_name(key) for key in OLD} <= flat(Recipe()).keys()
    assert all(any(key == old or key.startswith(f"{old}.") for key in OLD) for old in KEYS)


@pytest.mark.parametrize("key", RENAMED)
def test_an_old_key_is_taken_with_a_warning_that_names_the_new_one(key: str, tmp_path: Path) -> None:
    new, value = current_name(key), tomli_w.dumps({"v": OLD[key]})[4:].strip()
    with pytest.warns(RenamedKey, match=f"^{key} is called {new} now"):
        given = build_recipe(None, [f"{key}={value}"])
    assert given == build_recipe(None, [f"{new}={value}"])
    tree: Any = OLD[key]
    for part in reversed(key.split(".")):
        tree = {part: tree}
    (tmp_path / "recipe.toml").write_text(tomli_w.dumps(tree), encoding="utf-8")
    with pytest.warns(RenamedKey, match=new):
        assert build_recipe(tmp_path / "recipe.toml") == given


@pytest.mark.parametrize("key", RENAMED)
def test_an_old_key_beside_its_new_one_is_refused(key: str, tmp_path: Path) -> None:
    new, value = current_name(key), tomli_w.dumps({"v": OLD[key]})[4:].strip()
    (tmp_path / "recipe.toml").write_text(f"{key} = {value}\n{new} = {value}\n", encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RenamedKey)
        with pytest.raises(UserError, match="Leave one out"):
            build_recipe(None, [f"{key}={value}", f"{new}={value}"])
        with pytest.raises(UserError, match="Leave one out"):
            build_recipe(tmp_path / "recipe.toml")


def test_a_new_key_on_the_command_line_goes_over_an_old_one_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("drawing.eta = 0.5\n", encoding="utf-8")
    with pytest.warns(RenamedKey):
        assert build_recipe(tmp_path / "recipe.toml", ["sampling.eta=0.25"]).sampling.eta == 0.25


def test_a_recipe_written_then_says_what_it_said(folder: Path) -> None:
    recipe = read_recipe_of(folder)
    new = flat(recipe)
    assert {current_name(key): value for key, value in OLD.items()}.items() <= new.items()
    assert recipe.sampling.image.noise == "own", "there was no other then"
    with pytest.warns(RenamedKey) as warned:
        assert build_recipe(folder / "recipe.toml") == recipe
    assert len(warned) == len(KEYS), "a section is named once"


def test_a_finished_run_of_then_is_only_read(folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    summary = run(read_recipe_of(folder), folder)
    assert summary == json.loads((WRITTEN / "summary.json").read_text(encoding="utf-8"))
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    new = after.keys() - before.keys()
    assert {path for path in new if folder / "explorer" not in path.parents and path != folder / "explorer"} == {
        folder / "report.html"
    }
    assert before.items() <= after.items()


def test_a_run_that_began_then_is_not_continued(folder: Path) -> None:
    (folder / "summary.json").unlink()
    with pytest.raises(UserError, match="an earlier version of actgen has begun"):
        run(read_recipe_of(folder), folder)


def test_another_recipe_is_refused_by_what_is_different(folder: Path) -> None:
    with pytest.raises(UserError, match=r"another recipe \(see recipe\.toml there: seed = 0\)"):
        run(replace(read_recipe_of(folder), seed=1), folder)


def test_its_page_shows_what_was_kept_and_what_was_rejected(folder: Path) -> None:
    page = write_report(folder).read_text(encoding="utf-8")
    counts = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["filters"]
    assert f"{counts['kept']} of {counts['drawn']} generated images passed the filters" in page
    assert "nearly one colour" in page


def test_its_store_is_sound_and_exported_by_the_names_of_today(folder: Path, tmp_path: Path) -> None:
    verdict = verify(folder / "store")
    assert (verdict.damage, verdict.leftovers, verdict.images) == ([], [], 3)
    export_store(folder / "store", tmp_path / "export", "imagefolder")
    (table,) = (tmp_path / "export").rglob("metadata.*")
    text = table.read_text(encoding="utf-8")
    assert "regenerated" in text
    assert "redrawn" not in text


def test_its_images_are_generated_again(folder: Path, tmp_path: Path) -> None:
    manifest = Manifest(folder / "store" / MANIFEST)
    again = list(regenerate(folder / "store", list(manifest.keys()), tmp_path / "again"))
    assert len(again) == len(manifest) == 3
    assert any(row["guides"] for row in manifest.rows())
    for one in again:  # (0, 0) where they were made; another CPU rounds otherwise
        assert one.differs is not None
        assert one.differs[0] <= 3
    rows = [*Manifest(tmp_path / "again" / MANIFEST).rows()]
    assert all("redrawn" not in row and row["regenerated"] == "" for row in rows)
    assert all("both_halves" not in row["guidance"]["text"] for row in rows)


def test_columns_of_today_are_left_as_they_are(folder: Path) -> None:
    old = [*Manifest(folder / "store" / MANIFEST).rows(), *read_rejections(folder)]
    old += [json.loads(line) for line in (folder / "stats.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(old) == 3 + 8 + 2
    for row in old:
        assert current(current(row)) == current(row)
        assert len(current(row)) == len(row), "nothing is lost"


def test_a_class_may_be_called_as_a_column_was() -> None:
    counts = {"drawn": 2, "kept": 1, "refused": {"clip": 1}, "classes": {"drawn": {"drawn": 2, "kept": 1}}}
    assert current({"filters": counts, "per_class": {"refused": 3.0}}) == {
        "filters": {"generated": 2, "kept": 1, "rejected": {"clip": 1}, "classes": {"drawn": {"generated": 2, "kept": 1}}},
        "per_class": {"refused": 3.0},
    }
