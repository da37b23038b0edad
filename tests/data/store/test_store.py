"""Laws of the store: what its manifest says is there, for ever, and readable without actgen."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from PIL import Image

from actgen.core.errors import UserError
from actgen.data.store.store import MANIFEST, Previews, Store
from tests.conftest import make_sample, read_lines, tree

FACTS = {"probability": 0.5, "seconds": 0.1}


def filled(folder: Path, count: int = 3, class_name: str = "coat") -> Store:
    store = Store(folder)
    for number in range(count):
        store.add(make_sample(f"r000-{number:05d}", shade=number, class_name=class_name), FACTS)
    return store


def assert_every_line_has_its_image(folder: Path) -> None:
    for row in read_lines(folder / MANIFEST):
        assert hashlib.sha256((folder / row["file_name"]).read_bytes()).hexdigest() == row["sha256"]


def test_opening_a_store_writes_nothing(tmp_path: Path) -> None:
    assert len(Store(tmp_path / "store").snapshot()) == 0
    assert not (tmp_path / "store").exists()


def test_every_line_has_its_image_after_every_addition(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for number in range(4):
        store.add(make_sample(f"k{number}", shade=number), FACTS)
        assert_every_line_has_its_image(tmp_path)
        assert len(read_lines(tmp_path / MANIFEST)) == number + 1


def test_the_image_is_kept_pixel_by_pixel(tmp_path: Path) -> None:
    sample = make_sample("k", shade=77)
    row = Store(tmp_path).add(sample, FACTS)
    with Image.open(tmp_path / row["file_name"]) as image:
        assert image.tobytes() == sample.image.tobytes()


def test_opening_again_gives_the_same_rows(tmp_path: Path) -> None:
    rows = list(filled(tmp_path, class_name="cafetière 🐈").snapshot().rows)
    assert list(Store(tmp_path).snapshot().rows) == rows == read_lines(tmp_path / MANIFEST)


def test_a_line_without_its_image_cannot_be_made(tmp_path: Path) -> None:
    """A folder in the image's place makes the writing of the image fail: there must be no line then."""
    (tmp_path / "images" / "k.png" / "in-the-way").mkdir(parents=True)
    store = Store(tmp_path)
    with pytest.raises(OSError, match="k"):
        store.add(make_sample("k"), FACTS)
    assert not (tmp_path / MANIFEST).exists()
    assert len(store.snapshot()) == 0


@pytest.mark.parametrize("cut", [1, 2, 20, 150])
def test_a_torn_last_line_is_ignored_and_cut_at_the_next_addition(tmp_path: Path, cut: int) -> None:
    filled(tmp_path)
    path = tmp_path / MANIFEST
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    store = Store(tmp_path)
    assert [row["key"] for row in store.snapshot().rows] == ["r000-00000", "r000-00001"]
    assert path.read_bytes() == whole[:-cut]
    store.add(make_sample("r000-00002", shade=2), FACTS)
    assert path.read_bytes() == whole


def test_a_line_torn_within_a_letter_is_ignored_as_well(tmp_path: Path) -> None:
    filled(tmp_path, 2, class_name="cafetière")
    path = tmp_path / MANIFEST
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.rindex("è".encode()) + 1])
    assert len(Store(tmp_path)) == 1


@pytest.mark.parametrize("damage", [b"{\n", b"[]\n", b'{"key": "a"}\n', b"\xff\xfe\n"])
def test_a_damaged_line_names_the_file_and_the_line(tmp_path: Path, damage: bytes) -> None:
    filled(tmp_path, 1)
    with (tmp_path / MANIFEST).open("ab") as file:
        file.write(damage)
    with pytest.raises(UserError, match=r"metadata\.jsonl, line 2"):
        Store(tmp_path)


def test_the_same_image_again_changes_nothing(tmp_path: Path) -> None:
    store = filled(tmp_path)
    before = tree(tmp_path)
    assert store.add(make_sample("r000-00001", shade=1), {"seconds": 9.0})["seconds"] == 0.1
    assert Store(tmp_path).add(make_sample("r000-00001", shade=1), FACTS) == store.snapshot().rows[1]
    assert tree(tmp_path) == before


def test_another_image_of_the_same_key_is_refused(tmp_path: Path) -> None:
    store = filled(tmp_path)
    before = tree(tmp_path)
    with pytest.raises(UserError, match="r000-00001"):
        store.add(make_sample("r000-00001", shade=200), FACTS)
    assert tree(tmp_path) == before
    assert len(store) == 3


def test_a_snapshot_stands_still(tmp_path: Path) -> None:
    store = filled(tmp_path, 2)
    snapshot = store.snapshot()
    rows = list(snapshot.rows)
    store.add(make_sample("later", label=3), FACTS)
    assert (len(snapshot), len(store), list(snapshot.labels)) == (2, 3, [0, 0])
    assert list(snapshot.rows) == rows
    assert list(store.snapshot(2).rows) == rows


# taking out


def test_what_is_not_kept_is_set_aside_and_nothing_is_destroyed(tmp_path: Path) -> None:
    store = filled(tmp_path / "store", 5)
    rows, pictures = list(store.snapshot().rows), sorted(path.read_bytes() for path in tmp_path.rglob("*.png"))
    store.keep(2)
    assert list(store.snapshot().rows) == list(Store(tmp_path / "store").snapshot().rows) == rows[:2]
    assert_every_line_has_its_image(tmp_path / "store")
    assert len(list((tmp_path / "store" / "images").iterdir())) == 2
    aside = tmp_path / "store_set_aside"
    assert len(list(aside.glob("*.png"))) == 3
    assert sorted((json.loads(path.read_text()) for path in aside.glob("*.json")), key=lambda row: row["key"]) == rows[2:]
    assert sorted(path.read_bytes() for path in tmp_path.rglob("*.png")) == pictures


def test_an_image_set_aside_may_be_drawn_again_in_another_way(tmp_path: Path) -> None:
    store = filled(tmp_path / "store")
    store.keep(0)
    store.add(make_sample("r000-00000", shade=200), FACTS)
    store.keep(0)
    assert len(list((tmp_path / "store_set_aside").glob("*.png"))) == 4


def test_drawn_again_in_the_same_way_the_folder_is_as_before(tmp_path: Path) -> None:
    store = filled(tmp_path / "store")
    before = tree(tmp_path)
    store.keep(1)
    filled(tmp_path / "store")
    assert tree(tmp_path) == before


def test_to_keep_all_changes_nothing(tmp_path: Path) -> None:
    store = filled(tmp_path / "store")
    before = tree(tmp_path)
    store.keep(3)
    Store(tmp_path / "empty").keep(0)
    assert tree(tmp_path) == before


def test_more_than_there_is_cannot_be_kept(tmp_path: Path) -> None:
    store = filled(tmp_path / "store")
    with pytest.raises(UserError, match=r"store holds 3 images, but 4 were generated.*checkpoints"):
        store.keep(4)
    assert len(store) == 3


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_json_is_not_written(tmp_path: Path, value: float) -> None:
    store = Store(tmp_path)
    with pytest.raises(ValueError, match="JSON"):
        store.add(make_sample("k"), {"probability": value})
    assert len(store) == len(Store(tmp_path)) == 0
    assert tree(tmp_path) == {}


def test_an_image_is_on_the_disk_before_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr("os.fsync", lambda number: synced.append(Path(os.readlink(f"/proc/self/fd/{number}")).name))
    Store(tmp_path).add(make_sample("k"), FACTS)
    assert synced == [tmp_path.name, "k.png.part", "images", MANIFEST, tmp_path.name]


def test_previews_without_a_mask_are_not_kept(tmp_path: Path) -> None:
    sample = make_sample("k")
    Previews(tmp_path / "previews").add(sample, sample.image)
    assert not (tmp_path / "previews").exists()
