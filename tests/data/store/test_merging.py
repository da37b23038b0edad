"""Stores that become one: nothing is lost, nothing is there twice, and the new one is sound."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from actgen.cli.app import app
from actgen.core.errors import UserError
from actgen.data.store.merging import Merged, merge
from actgen.data.store.store import MANIFEST, Store
from actgen.data.store.verify import verify
from tests.conftest import Refuse, make_sample, read_lines, tree

Image = tuple[str, int]  # key, grey level
FACTS = {"probability": 0.5, "seconds": 0.1, "generator_hash": "abc"}


def make(folder: Path, *images: Image, label: int = 0, class_name: str = "coat") -> Path:
    store = Store(folder)
    for key, shade in images:
        store.add(make_sample(key, shade=shade, label=label, class_name=class_name), FACTS)
    return folder


def assert_sound(folder: Path, images: int) -> None:
    verdict = verify(folder)
    assert (verdict.damage, verdict.leftovers, verdict.images) == ([], [], images)


def test_lines_keep_all_they_said_and_gain_where_they_came_from(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a", ("r000-0", 1), ("r000-1", 2)), make(tmp_path / "b", ("r001-0", 3))
    assert merge([a, b], tmp_path / "c") == Merged(3, 0, 0)
    assert_sound(tmp_path / "c", 3)
    new, old = read_lines(tmp_path / "c" / MANIFEST), read_lines(a / MANIFEST) + read_lines(b / MANIFEST)
    for mine, theirs, name in zip(new, old, ("a", "a", "b"), strict=True):
        assert mine["merged_from"] == {"store": name, "key": theirs["key"]}
        assert {**mine, "chain": ""} == {**theirs, "merged_from": mine["merged_from"], "chain": ""}
        assert (tmp_path / "c" / mine["file_name"]).read_bytes() == (tmp_path / name / theirs["file_name"]).read_bytes()


def test_an_image_of_an_earlier_store_is_taken_once_and_copies_within_one_stay(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a", ("k0", 1), ("k1", 1)), make(tmp_path / "b", ("k0", 1), ("other", 1), ("k2", 2))
    assert merge([a, b], tmp_path / "c") == Merged(3, 2, 0)
    assert list(Store(tmp_path / "c").manifest.keys()) == ["k0", "k1", "k2"]


def test_a_key_of_different_images_needs_a_prefix(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a", ("k0", 1)), make(tmp_path / "b", ("k0", 2), ("k1", 3))
    with pytest.raises(UserError, match="hold different images with the key k0"):
        merge([a, b], tmp_path / "c")
    assert not (tmp_path / "c").exists()
    assert merge([a, b], tmp_path / "c", prefix="node") == Merged(3, 0, 1)
    rows = read_lines(tmp_path / "c" / MANIFEST)
    assert [row["key"] for row in rows] == ["k0", "node2-k0", "k1"]
    assert rows[1]["file_name"] == "images/node2-k0.png"
    assert rows[1]["merged_from"] == {"store": "b", "key": "k0"}
    assert_sound(tmp_path / "c", 3)


@pytest.mark.parametrize("prefix", ["../", "-", "a" * 100])
def test_a_prefix_that_no_key_can_have_is_refused(tmp_path: Path, prefix: str) -> None:
    a, b = make(tmp_path / "a", ("k0", 1)), make(tmp_path / "b", ("k0", 2))
    with pytest.raises(UserError, match="which none can be"):
        merge([a, b], tmp_path / "c", prefix=prefix)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("label", "class_name", "shade", "message"),
    [
        (0, "shirt", 2, "label 0 is .?coat.? in .* and .?shirt"),
        (1, "coat", 2, "coat.? has the label 0 in .* and 1 in"),
        (1, "shirt", 1, "k1 in .* is the same image as k0 of .*, but of another class"),
    ],
)
def test_classes_that_contradict_each_other_are_refused(
    tmp_path: Path, label: int, class_name: str, shade: int, message: str
) -> None:
    a = make(tmp_path / "a", ("k0", 1))
    b = make(tmp_path / "b", ("k1", shade), label=label, class_name=class_name)
    with pytest.raises(UserError, match=message):
        merge([a, b], tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_a_merger_that_was_stopped_goes_on_and_one_that_is_done_does_nothing(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a", ("k0", 1), ("k1", 2)), make(tmp_path / "b", ("k2", 3))
    merge([a, b], tmp_path / "c")
    whole = tree(tmp_path / "c")
    assert merge([a, b], tmp_path / "c") == Merged(3, 0, 0)
    assert tree(tmp_path / "c") == whole
    Store(tmp_path / "c").keep(1)
    shutil.rmtree(tmp_path / "c_set_aside")
    merge([a, b], tmp_path / "c")
    assert tree(tmp_path / "c") == whole


def test_a_folder_with_other_images_is_refused(tmp_path: Path) -> None:
    a, b, c = (make(tmp_path / name, (f"k{name}", shade)) for shade, name in enumerate("abc"))
    before = tree(c)
    with pytest.raises(UserError, match="holds other images than these stores"):
        merge([a, b], c)
    with pytest.raises(UserError, match="is one of the stores"):
        merge([a, b], a)
    assert tree(c) == before


@pytest.mark.parametrize("data", [None, b"", b"another"])
def test_a_damaged_image_is_refused(tmp_path: Path, data: bytes | None) -> None:
    a, b = make(tmp_path / "a", ("k0", 1)), make(tmp_path / "b", ("k1", 2))
    image = b / "images" / "k1.png"
    image.unlink()
    if data is not None:
        image.write_bytes(data)
    with pytest.raises(UserError, match=r"k1\.png is missing, or not what its line says"):
        merge([a, b], tmp_path / "c")


def test_the_command(tmp_path: Path, refuse: Refuse) -> None:
    a, b = make(tmp_path / "a", ("k0", 1), ("k1", 9)), make(tmp_path / "b", ("k0", 2), ("k9", 9))
    assert "Give a --prefix" in refuse("store", "merge", str(a), str(b), "--out", str(tmp_path / "c"))
    assert "holds no metadata.jsonl" in refuse("store", "merge", str(a), str(tmp_path), "--out", str(tmp_path / "c"))
    assert "Give two or more" in refuse("store", "merge", str(a), "--out", str(tmp_path / "c"))
    command = ["store", "merge", str(a), str(b), "--out", str(tmp_path / "c"), "--prefix", "node"]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0
    assert "3 images in" in result.output
    assert "1 were there twice; 1 have a new key" in result.output
