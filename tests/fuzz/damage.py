"""Seeded damage: bytes that are cut, flipped, blanked, repeated or swapped; values that a field cannot have."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

Damage = Callable[[bytes, random.Random], bytes]


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def flip(data: bytes, rng: random.Random) -> bytes:
    """Change up to 16 bytes, most of them in the first 200: where a format says what it is."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 16)):
        out[rng.randrange(min(len(out), 200) if rng.random() < 0.7 else len(out))] = rng.randrange(256)
    return bytes(out)


def blank(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    length = rng.randint(1, max(1, len(data) // 3))
    return data[:start] + bytes(len(data[start : start + length])) + data[start + length :]


def drop(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    return data[:start] + data[start + rng.randint(1, max(1, len(data) // 4)) :]


def repeat(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    return data[:start] + data[start : start + rng.randint(1, 64)] * rng.randint(2, 50) + data[start:]


def noise(data: bytes, rng: random.Random) -> bytes:
    """Keep the first bytes, and no more."""
    return data[: rng.randint(0, 40)] + rng.randbytes(rng.randint(1, 2000))


DAMAGES: tuple[Damage, ...] = (cut, cut, flip, blank, drop, repeat, noise)


def damaged(data: bytes, seed: int) -> bytes:
    """Return `data` damaged in the way and place that `seed` says, never as it was."""
    rng = random.Random(seed)
    while True:
        out = DAMAGES[seed % len(DAMAGES)](data, rng)
        if out != data:
            return out


NASTY: tuple[Any, ...] = (
    None,
    True,
    -1,
    10**30,
    1e308,
    -0.5,
    float("nan"),
    float("inf"),
    "",
    "../../../outside",
    "a\x00b",
    "x" * 100_000,
    "\x1b[31m</script>\n\u202e",
    [],
    [[]],
    {},
    {"a": {"b": [1]}},
)


def leaves(tree: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the paths to the single values of a JSON tree."""
    if isinstance(tree, (dict, list)) and tree:
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from leaves(value, (*path, key))
    else:
        yield path


def replaced(tree: Any, path: tuple[str | int, ...], value: Any) -> Any:
    """Return a copy of a JSON tree with another value at `path`."""
    copy = json.loads(json.dumps(tree))
    if not path:
        return value
    inside = copy
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value
    return copy
