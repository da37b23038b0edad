"""Laws of the manifest: rows are what the file says, in pieces or whole; writing touches nothing but the end."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from actgen.core.errors import UserError
from actgen.data.store.chain import CHAIN, START, link
from actgen.data.store.manifest import UNLABELLED, Manifest
from tests.conftest import read_lines


def facts(number: int, **more: Any) -> dict[str, Any]:
    return {"key": f"k{number}", "file_name": f"images/k{number}.png", "sha256": f"{number:064x}", "label": number % 3, **more}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A manifest of five lines, two of which are not written as the store writes them."""
    path = tmp_path / "metadata.jsonl"
    lines = [json.dumps(facts(number, note="ü\u2028")) for number in range(5)]
    lines[1] = json.dumps(dict(reversed(facts(1, note='a "quoted" note').items())))
    lines[3] = json.dumps({**facts(3), "key": "k-3", "note": "\\\n"})
    lines[3] = lines[3].replace('"label": 0, ', "")
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def test_rows_are_the_lines_however_they_are_read(path: Path) -> None:
    lines, rows = [json.loads(line) for line in path.read_bytes().splitlines()], Manifest(path).rows()
    assert list(rows) == lines == [rows[number] for number in range(5)] == [rows[number - 5] for number in range(5)]
    assert list(rows[1:4]) == lines[1:4]
    assert [list(rows[2:][:-1][number:]) for number in range(2)] == [lines[2:4], lines[3:4]]
    assert list(rows[::-2]) == lines[::-2]
    assert list(pickle.loads(pickle.dumps(rows))) == lines
    assert len(rows[4:2]) == 0
    with pytest.raises(IndexError):
        rows[5]


def test_keys_and_labels_are_known_without_reading_rows(path: Path) -> None:
    manifest = Manifest(path)
    assert list(manifest.keys()) == ["k0", "k1", "k2", "k-3", "k4"]
    assert list(manifest.labels()) == [0, 1, 2, UNLABELLED, 1]
    assert manifest.row("k-3") == manifest.rows()[3]
    assert ("k2" in manifest, "k9" in manifest, manifest.row("k9")) == (True, False, None)


def test_what_is_appended_is_there_now_and_when_opened_again(path: Path) -> None:
    manifest, before = Manifest(path), path.read_bytes()
    rows = manifest.rows()
    (row,) = manifest.append([facts(7, note=("a", 1))])
    assert row == {**facts(7, note=["a", 1]), CHAIN: row["chain"]} == manifest.row("k7") == Manifest(path).rows()[-1]
    assert (len(rows), len(manifest), list(manifest.labels())[-1]) == (5, 6, 1)
    assert path.read_bytes().startswith(before)


def test_a_chain_stands_for_all_lines_but_not_for_seconds(tmp_path: Path) -> None:
    manifest, previous = Manifest(tmp_path / "m.jsonl"), START
    assert manifest.chain == START
    for number in range(3):
        (row,) = manifest.append([facts(number, seconds=number * 1.5, odd="é")])
        assert row["chain"] == link(previous, facts(number, seconds=99.0, odd="é")) == manifest.chain
        previous = row["chain"]
    assert Manifest(tmp_path / "m.jsonl").chain == previous
    assert link(START, facts(0)) != link(previous, facts(0)) != link(previous, facts(1))


def test_two_writers_are_noticed(tmp_path: Path) -> None:
    one, other = Manifest(tmp_path / "m.jsonl"), Manifest(tmp_path / "m.jsonl")
    one.append([facts(0)])
    whole = one.path.read_bytes()
    with pytest.raises(UserError, match="changed by another process"):
        other.append([facts(1)])
    assert one.path.read_bytes() == whole
    other.refresh()
    other.append([facts(1)])
    assert [row["key"] for row in read_lines(one.path)] == ["k0", "k1"]


def test_cutting_leaves_the_first_lines_as_they_were(path: Path) -> None:
    manifest, before = Manifest(path), path.read_bytes()
    manifest.cut(2)
    assert path.read_bytes() == b"".join(before.splitlines(keepends=True)[:2])
    assert list(manifest.keys()) == ["k0", "k1"]
    assert manifest.append([facts(2)]) == [Manifest(path).rows()[2]]


@pytest.mark.parametrize("name", ["../out.png", "/etc/passwd", "images/../../x"])
def test_a_file_outside_of_the_store_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "m.jsonl").write_text(json.dumps({**facts(0), "file_name": name}) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"line 1: file_name cannot be"):
        Manifest(tmp_path / "m.jsonl")


_FILL = """
import resource, signal, sys
from pathlib import Path
from actgen.data.store.manifest import Manifest
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
manifest = Manifest(Path(sys.argv[1]))
number = 0
try:
    while True:
        manifest.append([{"key": f"k{number}", "file_name": "images/a.png", "label": 0, "text": "x" * 200}])
        number += 1
except OSError:
    assert len(manifest) == number == len(Manifest(manifest.path)) and manifest.path.read_bytes().endswith(b"}\\n")
    print(number)
"""


def test_without_room_for_a_line_the_file_keeps_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    ended = subprocess.run([sys.executable, "-c", _FILL, str(path)], capture_output=True, text=True, check=True)
    rows = read_lines(path)
    assert len(rows) == int(ended.stdout) > 3
    Manifest(path).append([facts(98), facts(99)])
    assert len(read_lines(path)) == len(rows) + 2
