"""Which source code and which settings made a result: the commit of the package in a checkout, a recipe's hash."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

DIRTY = "+dirty"
"""What follows the commit if files of the package were changed, added or removed since."""
_PACKAGE = Path(__file__).parents[1]


@lru_cache(maxsize=1)
def source_commit() -> str:
    """Return the commit (40 hex digits) of the package's source, with `DIRTY` if it was changed; else "version X".

    Asked once a process: what is imported does not change when the files do.
    """
    if _git("ls-files", "--error-unmatch", "__init__.py") is None:  # no checkout, or somebody else's
        return f"version {version('actgen')}"
    commit, changed = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--", ".")
    return f"version {version('actgen')}" if not commit else commit + (DIRTY if changed else "")


def recipe_hash(settings: Mapping[str, object]) -> str:
    """Return sha256 over a recipe as dotted keys and values (`recipe.flat`), in the order of the keys, as JSON."""
    return hashlib.sha256(json.dumps(dict(settings), sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _git(*arguments: str) -> str | None:
    """Return what git says of the package's folder; None if there is no git, or it refuses."""
    try:
        done = subprocess.run(["git", "-C", str(_PACKAGE), *arguments], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
