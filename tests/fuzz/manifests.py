"""Manifests of a store, damaged: generated again from (`generate --from-manifest`)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .case import Case
from .damage import NASTY, damaged, leaves, replaced

BYTES_ROUNDS = 20


def _case(name: str, lines: bytes, key: str) -> Case:
    def build(folder: Path) -> list[str]:
        (folder / "run" / "store").mkdir(parents=True)
        (folder / "run" / "store" / "metadata.jsonl").write_bytes(lines)
        return ["generate", "--from-manifest", str(folder / "run" / "store"), "--key", key, "--out", str(folder / "out")]

    return Case(f"manifest {name}", build)


def cases(manifest: bytes) -> Iterator[Case]:
    """Yield damaged copies of a run's manifest, whose folder has nothing else."""
    rows: list[Any] = [json.loads(line) for line in manifest.splitlines()[:2]]
    key = str(rows[0]["key"])
    for number, path in enumerate(leaves(rows[0])):
        for value in (NASTY[number % len(NASTY)], NASTY[(3 * number + 1) % len(NASTY)]):
            both = json.dumps(replaced(rows[0], path, value)) + "\n" + json.dumps(rows[1]) + "\n"
            yield _case(f"{'.'.join(map(str, path))} = {str(value)[:20]!r}", both.encode(), key)
    for missing in rows[0]:
        yield _case(f"without {missing}", (json.dumps({k: v for k, v in rows[0].items() if k != missing}) + "\n").encode(), key)
    for seed in range(BYTES_ROUNDS):
        yield _case(f"bytes {seed}", damaged(manifest, seed), key)
    for name, lines in by_hand(rows[0]).items():
        yield _case(name, lines, key)


def by_hand(row: dict[str, Any]) -> dict[str, bytes]:
    text = json.dumps(row)
    paths = (
        "../../../outside.png",
        "/etc/hostname",
        "images/../../x.png",
        "images/.hidden.png",
        "images\\x.png",
        "images/a.txt",
    )
    return {
        "empty": b"",
        "nul": b"\0\n",
        "torn": text.encode(),
        "array": b"[]\n",
        "number": b"1\n",
        "deep": b"[" * 100_000 + b"\n",
        "deep object": b'{"key": ' * 50_000 + b"\n",
        "many digits": b'{"key": ' + b"9" * 5000 + b"}\n",
        "twice": (text + "\n").encode() * 2,
        "utf-16": (text + "\n").encode("utf-16"),
        "byte order mark": b"\xef\xbb\xbf" + text.encode() + b"\n",
        "half a pair": text.replace('"prompt": "', '"prompt": "\\ud800').encode() + b"\n",
        "large": b" " * (2**20 + 1) + b"\n",
        "same names": text[:-1].encode() + b', "label": 0, "label": "x"}\n',
        "blank line": b"\n" + text.encode() + b"\n",
        **{f"file {path}": (json.dumps({**row, "file_name": path}) + "\n").encode() for path in paths},
        **{f"key {path}": (json.dumps({**row, "key": path}) + "\n").encode() for path in paths},
    }
