"""Laws of the check: what a stop leaves is no damage, every damage is named, a repair moves it aside and loses nothing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from actgen.cli.app import app
from actgen.core.errors import UserError
from actgen.core.lock import locked
from actgen.data.store.chain import CHAIN
from actgen.data.store.repair import repair
from actgen.data.store.store import MANIFEST, Store
from actgen.data.store.verify import verify
from tests.conftest import Refuse, make_sample, read_lines, tree

COUNT = 6


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    filled = Store(folder)
    filled.add_all([(make_sample(f"k{number}", shade=number), {"note": "é", "seconds": 1.0}) for number in range(COUNT)])
    return folder


def lines(folder: Path) -> list[str]:
    return (folder / MANIFEST).read_text(encoding="utf-8").splitlines(keepends=True)


def write(folder: Path, found: list[str]) -> None:
    (folder / MANIFEST).write_text("".join(found), encoding="utf-8")


def changed(folder: Path, number: int, **values: object) -> list[str]:
    found = lines(folder)
    found[number] = json.dumps({**json.loads(found[number]), **values}, ensure_ascii=False) + "\n"
    return found


# what is no damage


def test_a_store_as_it_was_written_is_clean(store: Path) -> None:
    before = tree(store)
    verdict = verify(store)
    assert (verdict.images, verdict.lines, verdict.damage, verdict.leftovers) == (COUNT, COUNT, [], [])
    assert verdict.chain == read_lines(store / MANIFEST)[-1][CHAIN]
    assert repair(store).lines == 0
    assert tree(store) == before
    assert not (store.parent / "store_set_aside").exists()


@pytest.mark.parametrize("cut", [1, 2, 30, 150])
def test_a_torn_line_and_files_without_one_are_left_over(store: Path, cut: int) -> None:
    (store / MANIFEST).write_bytes((store / MANIFEST).read_bytes()[:-cut])
    (store / "images" / "k9.png.part").write_bytes(b"half")
    verdict = verify(store)
    assert (verdict.images, verdict.damage) == (COUNT - 1, [])
    assert [str(one) for one in verdict.leftovers] == [
        f"line {COUNT}: a torn last line, of a stop while it was written",
        f"images/k{COUNT - 1}.png has no line",
        "images/k9.png.part has no line",
    ]
    repair(store)
    assert verify(store).leftovers == []
    assert len(read_lines(store / MANIFEST)) == COUNT - 1


def test_lines_of_earlier_versions_without_a_chain_may_come_first(store: Path) -> None:
    write(store, [json.dumps({k: v for k, v in json.loads(line).items() if k != CHAIN}) + "\n" for line in lines(store)])
    Store(store).add(make_sample("new"), {})
    verdict = verify(store)
    assert (verdict.damage, verdict.unchained, verdict.lines) == ([], COUNT, COUNT + 1)
    write(store, lines(store)[1:])
    assert verify(store).damage == []
    assert len(verify(store).leftovers) == 1


# damage


def removed(folder: Path) -> None:
    write(folder, lines(folder)[:2] + lines(folder)[3:])


def first_removed(folder: Path) -> None:
    write(folder, lines(folder)[1:])


def moved(folder: Path) -> None:
    found = lines(folder)
    write(folder, [*found[:2], found[3], found[2], *found[4:]])


def altered(folder: Path) -> None:
    write(folder, changed(folder, 2, label=3))


def without_chain(folder: Path) -> None:
    found = json.loads(lines(folder)[2])
    del found[CHAIN]
    write(folder, [*lines(folder)[:2], json.dumps(found) + "\n", *lines(folder)[3:]])


def doubled(folder: Path) -> None:
    write(folder, [*lines(folder), lines(folder)[2]])


def no_json(folder: Path) -> None:
    write(folder, [*lines(folder)[:2], "{\n", *lines(folder)[3:]])


def no_number(folder: Path) -> None:
    write(folder, changed(folder, 2, note=float("nan")))


def no_digest(folder: Path) -> None:
    write(folder, changed(folder, 2, sha256=7))


def no_label(folder: Path) -> None:
    write(folder, changed(folder, 2, label="three"))


def outside(folder: Path) -> None:
    write(folder, changed(folder, 2, file_name="../k2.png"))


def deep(folder: Path) -> None:
    write(folder, [*lines(folder)[:2], "[" * 100_000 + "\n", *lines(folder)[3:]])


def missing(folder: Path) -> None:
    (folder / "images" / "k2.png").unlink()


def empty(folder: Path) -> None:
    (folder / "images" / "k2.png").write_bytes(b"")


def truncated(folder: Path) -> None:
    os.truncate(folder / "images" / "k2.png", 30)


def flipped(folder: Path) -> None:
    data = bytearray((folder / "images" / "k2.png").read_bytes())
    data[-20] ^= 1
    (folder / "images" / "k2.png").write_bytes(data)


def linked(folder: Path) -> None:
    (folder / "images" / "k2.png").rename(folder.parent / "there.png")
    (folder / "images" / "k2.png").symlink_to(folder.parent / "there.png")


DAMAGES: dict[Callable[[Path], None], tuple[str, int]] = {
    removed: ("line 3 (k3): the chain breaks", 5),
    first_removed: ("line 1 (k1): the chain breaks", 5),
    moved: ("line 3 (k3): the chain breaks", 6),
    altered: ("line 3 (k2): the chain breaks", 6),
    without_chain: ("line 3 (k2): the chain breaks", 6),
    doubled: ("line 7 (k2): an image or a file is named", 6),
    no_json: ("line 3: not JSON", 5),
    no_number: ("line 3: not JSON (NaN is not a number)", 5),
    no_digest: ("line 3: sha256 cannot be 7", 5),
    no_label: ("line 3: label cannot be 'three'", 5),
    outside: ("line 3: file_name cannot be '../k2.png'", 5),
    deep: ("line 3: not JSON", 5),
    missing: ("line 3 (k2): images/k2.png is missing", 5),
    empty: ("line 3 (k2): images/k2.png is empty", 5),
    truncated: ("line 3 (k2): images/k2.png was altered or cut", 5),
    flipped: ("line 3 (k2): images/k2.png was altered or cut", 5),
    linked: ("line 3 (k2): images/k2.png is a link", 5),
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damage_is_named_and_mended_without_loss(store: Path, damage: Callable[[Path], None]) -> None:
    damage(store)
    words, sound = DAMAGES[damage]
    before = sorted(data for data in tree(store.parent).values() if data is not None)
    found = [str(one) for one in verify(store).damage]
    assert any(one.startswith(words) for one in found), found
    assert sorted(data for data in tree(store.parent).values() if data is not None) == before
    repair(store)
    after = verify(store)
    assert (after.damage, after.leftovers, after.images, after.lines) == ([], [], sound, sound)
    kept = [data for data in tree(store.parent).values() if data is not None]
    assert [data for data in before if data not in kept] == []  # every file, the manifest too, is still somewhere
    assert Store(store).add(make_sample("more"), {})["key"] == "more"
    assert verify(store).damage == []


def test_two_damages_are_both_told(store: Path) -> None:
    missing(store)
    write(store, changed(store, 4, seed=2))
    assert [one.line for one in verify(store).damage] == [3, 5]


def test_lines_that_keep_their_place_keep_their_bytes(store: Path) -> None:
    before = lines(store)
    os.truncate(store / "images" / "k3.png", 5)
    repair(store)
    assert lines(store)[:3] == before[:3]
    assert [{**json.loads(line), CHAIN: ""} for line in lines(store)] == [
        {**json.loads(line), CHAIN: ""} for line in before[:3] + before[4:]
    ]


def test_images_set_aside_can_be_put_back(store: Path) -> None:
    before = tree(store)
    truncated(store)
    flipped(store)
    repair(store)
    Store(store).add(make_sample("k2", shade=2), {"note": "é"})
    assert {name for name in tree(store) if name.endswith("png")} == {name for name in before if name.endswith("png")}
    assert verify(store).images == COUNT


# the end of the manifest, which no chain shows


def test_a_run_knows_how_many_lines_there_were(store: Path) -> None:
    (store.parent / "stats.jsonl").write_text(json.dumps({"generated_so_far": COUNT}) + "\n", encoding="utf-8")
    assert verify(store).damage == []
    write(store, lines(store)[:-2])
    assert [str(one) for one in verify(store).damage] == [
        f"lines are missing at the end: {COUNT} were written, {COUNT - 2} are there"
    ]
    assert len(repair(store).before.damage) == 1
    assert verify(store).damage == []


def test_a_run_knows_the_last_chain(store: Path, tmp_path: Path) -> None:
    chain = Store(store).manifest.chain
    (store.parent / "summary.json").write_text(
        json.dumps({"synthetic_images": COUNT, "manifest_chain": chain}), encoding="utf-8"
    )
    assert verify(store).damage == []
    other = Store(tmp_path / "other")
    other.add_all([(make_sample(f"k{number}", shade=number), {"note": "forged"}) for number in range(COUNT)])
    shutil.copy(other.folder / MANIFEST, store / MANIFEST)
    assert "the lines were written anew" in str(verify(store).damage[0])


# the command


def test_the_command_tells_and_its_exit_code_too(store: Path) -> None:
    def call(*more: str) -> tuple[int, str]:
        ended = CliRunner().invoke(app, ["store", "verify", str(store), *more], catch_exceptions=False)
        return ended.exit_code, ended.output

    code, text = call()
    assert (code, f"{COUNT} of {COUNT} images in {store} are sound" in text) == (0, True)
    flipped(store)
    code, text = call()
    assert (code, "damage: line 3 (k2): images/k2.png was altered" in text, "--repair" in text) == (1, True, True)
    code, text = call("--repair")
    assert (code, f"moved to {store}_set_aside: 1 lines and 1 files" in text) == (0, True)
    assert call()[0] == 0


def test_what_is_no_store_or_in_use_is_refused(refuse: Refuse, store: Path) -> None:
    assert "so it is no store. Give" in refuse("store", "verify", str(store.parent))
    assert "so it is no store" in refuse("store", "verify", str(store / "nowhere"), "--repair")
    flipped(store)
    with locked(store), pytest.raises(UserError, match="is in use"):
        repair(store)
    (store.parent / "recipe.toml").touch()
    with locked(store.parent), pytest.raises(UserError, match="is in use"):
        repair(store)
