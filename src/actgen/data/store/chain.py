"""The hash chain of a manifest: every line carries the hash of its content and of the line before it.

    chain(n) = SHA-256 of: chain(n - 1), a newline, line n as JSON with sorted keys and without the fields below

So a line that was taken out, altered, put in or moved breaks the chain there; the last chain stands for the whole store. The
seconds that a generated image took are left out: two runs that drew the same images have the same chain.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

CHAIN = "chain"
LEFT_OUT = frozenset({CHAIN, "seconds"})
START = ""  # what the first line continues


def link(previous: str, row: Mapping[str, object]) -> str:
    """Return the chain of `row` after a line whose chain is `previous`."""
    content = {name: value for name, value in row.items() if name not in LEFT_OUT}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(f"{previous}\n{text}".encode("utf-8", "surrogatepass")).hexdigest()
