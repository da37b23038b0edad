"""Recipes with every value wrong in every way, and files that are hardly recipes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tomli_w

from actgen.experiment.config import build_recipe, to_toml

from .case import Case
from .damage import NASTY, damaged, leaves, replaced

BYTES_ROUNDS = 30


def _toml(tree: Any) -> bytes:
    """Return a tree as TOML; null, which TOML does not have, becomes a date."""
    return tomli_w.dumps(json.loads(json.dumps(tree), parse_constant=float), multiline_strings=False).encode()


def _case(name: str, data: bytes) -> Case:
    def build(folder: Path) -> list[str]:
        (folder / "recipe.toml").write_bytes(data)
        return [
            "train",
            "--recipe",
            str(folder / "recipe.toml"),
            "--out",
            str(folder / "out"),
            "--strategy",
            "none",
            "--epochs",
            "1",
            "--data",
            str(folder / "no data here"),
        ]

    return Case(f"recipe {name}", build, passed="no data here")


def cases() -> Iterator[Case]:
    """Yield them; the data do not exist, which is found when a recipe is right after all."""
    tree = dataclasses.asdict(build_recipe())
    values = [value for value in NASTY if value is not None]
    for number, path in enumerate(leaves(tree)):
        for value in (values[number % len(values)], values[(5 * number + 3) % len(values)]):
            yield _case(f"{'.'.join(map(str, path))} = {str(value)[:20]!r}", _toml(replaced(tree, path, value)))
    text = to_toml(build_recipe()).encode()
    for seed in range(BYTES_ROUNDS):
        yield _case(f"bytes {seed}", damaged(text, seed))
    for name, data in by_hand().items():
        yield _case(name, data)


def by_hand() -> dict[str, bytes]:
    return {
        "empty": b"",
        "nul": b"\0",
        "latin-1": b'data = "caf\xe9"\n',
        "utf-16": "seed = 1\n".encode("utf-16"),
        "byte order mark": b"\xef\xbb\xbfseed = 1\n",
        "twice": b"seed = 1\nseed = 2\n",
        "table twice": b"[model]\n[model]\n",
        "deep array": b"seed = " + b"[" * 5000 + b"]" * 5000,
        "deep table": b"seed = " + b"{a=" * 3000 + b"1" + b"}" * 3000,
        "dots": b"a" + b".a" * 5000 + b" = 1\n",
        "many digits": b"seed = " + b"9" * 5000,
        "hex": b"seed = 0x" + b"f" * 2000,
        "large": b"# " + b"x" * (2**20 + 1),
        "long key": b"x" * 100_000 + b" = 1\n",
        "escapes": b'"\\u001b[31m" = 1\n',
        "right to left": '"\u202eepochs" = 3\n'.encode(),
        "half a pair": b'data = "\\ud800"\n',
        "json": b'{"seed": 1}',
        "date": b"seed = 1979-05-27T07:32:00Z\n",
        "nan": b"[sampling]\neta = nan\n",
        "inf": b"[sampling.image]\noffset = inf\n",
        "array of tables": b"[[training]]\nepochs = 1\n",
        "part as value": b"training = 3\n",
        "value as part": b"[seed]\nx = 1\n",
        "picture": b"\x89PNG\r\n\x1a\n",
        "unterminated": b'data = """abc',
        "carriage returns": b"seed = 1\r\r\n",
    }
