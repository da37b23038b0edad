"""A work folder belongs to one training: what that depends on is written into it, and compared when it is continued."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ..core import files
from ..core.errors import UserError
from ..core.text import read_text


def claim(work: Path, facts: Mapping[str, object]) -> None:
    """Write `facts` into `work`/config.json; `UserError` if it holds others."""
    path = work / "config.json"
    wanted = json.loads(json.dumps(facts))
    if path.exists() and (held := _read(path)) != wanted:
        other = sorted(key for key in held.keys() | wanted if held.get(key) != wanted.get(key))
        raise UserError(
            f"{work} holds an unfinished training with other settings or data ({', '.join(other)}). Continue it "
            "with the same ones, choose another --out, or remove that folder."
        )
    files.write_text(path, json.dumps(wanted, indent=1, sort_keys=True) + "\n")


def _read(path: Path) -> dict[str, object]:
    try:
        return dict(json.loads(read_text(path)))
    except (ValueError, TypeError, RecursionError):
        return {"config.json": "unreadable"}
