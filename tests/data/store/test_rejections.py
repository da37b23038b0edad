"""Laws of the rejection log of refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from actgen.core.errors import UserError
from actgen.core.rows import ManifestLine, RejectionLine
from actgen.data.store.rejections import RejectionLog, in_order, picture_path, read_rejections
from tests.conftest import make_sample, read_lines, tree

FACTS = {"filter": "leakage", "reason": "near to the test image test/3", "score": 0.01, "guidance": {}}


def filled(folder: Path, count: int = 3, *, pictures: bool = True) -> RejectionLog:
    rejections = RejectionLog(folder, pictures=pictures)
    for number in range(count):
        rejections.add(make_sample(f"r000-{number:05d}", shade=number, class_name="cafetière"), {**FACTS, "after": 2 * number})
    return rejections


def test_opening_writes_nothing(tmp_path: Path) -> None:
    assert len(RejectionLog(tmp_path / "run")) == 0
    assert not (tmp_path / "run").exists()


def test_a_line_says_what_was_asked_for_and_why_it_was_refused(tmp_path: Path) -> None:
    rejections = filled(tmp_path)
    assert rejections.rows == read_lines(tmp_path / "rejected.jsonl") == list(read_rejections(tmp_path))
    row = rejections.rows[1]
    assert row["key"] == "r000-00001"
    assert row["prompt"] == "a photo of cafetière"
    assert (row["guides"], row["source"], row["filter"], row["after"]) == ([], None, "leakage", 2)


def test_pictures_are_kept_if_wanted(tmp_path: Path) -> None:
    filled(tmp_path / "with")
    filled(tmp_path / "without", pictures=False)
    assert picture_path(tmp_path / "with", "r000-00002").is_file()
    assert set(tree(tmp_path / "without")) == {"rejected.jsonl"}


@pytest.mark.parametrize("count", [0, 1, 3])
def test_going_back_and_on_leaves_what_going_through_leaves(tmp_path: Path, count: int) -> None:
    filled(tmp_path / "through")
    rejections = filled(tmp_path / "back")
    rejections.keep(count)
    assert len(rejections) == len(RejectionLog(tmp_path / "back")) == count
    for number in range(count, 3):
        rejections.add(make_sample(f"r000-{number:05d}", shade=number, class_name="cafetière"), {**FACTS, "after": 2 * number})
    assert tree(tmp_path / "back") == tree(tmp_path / "through")


def test_going_back_to_the_beginning_leaves_nothing(tmp_path: Path) -> None:
    filled(tmp_path / "run").keep(0)
    assert [path.name for path in (tmp_path / "run").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("cut", [1, 5, 60, 150])
def test_a_torn_last_line_is_no_line(tmp_path: Path, cut: int) -> None:
    filled(tmp_path)
    path = tmp_path / "rejected.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    rejections = RejectionLog(tmp_path, pictures=True)
    assert len(rejections) == 2
    rejections.add(make_sample("r000-00002", shade=2, class_name="cafetière"), {**FACTS, "after": 4})
    assert path.read_bytes() == whole


def test_the_same_refusal_again_changes_nothing(tmp_path: Path) -> None:
    rejections = filled(tmp_path)
    before = tree(tmp_path)
    rejections.add(make_sample("r000-00001", shade=9), {**FACTS, "after": 9})
    RejectionLog(tmp_path, pictures=True).add(make_sample("r000-00001", shade=9), {**FACTS, "after": 9})
    assert tree(tmp_path) == before
    assert len(rejections) == 3


def test_lines_that_were_lost_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds 3 rejections, but 4 were written"):
        filled(tmp_path).keep(4)


@pytest.mark.parametrize("damage", [b"{\n", b"[]\n", b'{"key": "a"}\n', b'{"key": "a", "after": "x"}\n', b"\xff\n"])
def test_a_damaged_line_is_named(tmp_path: Path, damage: bytes) -> None:
    filled(tmp_path, 1)
    with (tmp_path / "rejected.jsonl").open("ab") as file:
        file.write(damage)
    with pytest.raises(UserError, match=r"rejected\.jsonl, line 2"):
        RejectionLog(tmp_path)


def test_the_order_of_drawing() -> None:
    stored = [ManifestLine(key=key, file_name=f"{key}.png") for key in "ace"]
    refused = [RejectionLine(key=key, after=after) for key, after in zip("bdfg", (1, 2, 3, 3), strict=True)]
    assert [row["key"] for row in in_order(stored, refused)] == list("abcdefg")
    assert [row["key"] for row in in_order(stored, [])] == list("ace")
    assert [row["key"] for row in in_order([], [{"key": "x", "after": 0}])] == ["x"]
