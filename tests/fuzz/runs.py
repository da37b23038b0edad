"""A stopped and a finished run whose files are damaged: continued, generated again, shown again."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from .case import Case, link_tree, overwrite
from .damage import damaged

ROUNDS = 30
Change = Callable[[Path], object]


def _case(name: str, run: Path, arguments: list[str], change: Change) -> Case:
    def build(folder: Path) -> list[str]:
        change(link_tree(run, folder / "out"))
        return [*arguments, "--out", str(folder / "out")]

    return Case(f"run {name}", build)


def stopped_cases(run: Path, arguments: list[str]) -> Iterator[Case]:
    """Yield runs that stopped after an epoch, each with a damaged file, to be continued by `arguments`."""
    *older, newest = sorted((run / "checkpoints").glob("*.pt"))
    for path in older:  # else the run would go on from the one before
        path.unlink()
    checkpoint, name = newest.read_bytes(), f"checkpoints/{newest.name}"
    for seed in range(ROUNDS):
        yield _case(f"checkpoint {seed}", run, arguments, _write(name, damaged(checkpoint, seed)))
    state = torch.load(io.BytesIO(checkpoint), weights_only=True)
    for what, wrong in _wrong_states(state).items():
        yield _case(f"checkpoint: {what}", run, arguments, _write(name, _saved(wrong)))
    for seed in range(8):
        recipe = damaged((run / "recipe.toml").read_bytes(), seed)
        yield _case(f"recipe {seed}", run, arguments, _write("recipe.toml", recipe))


def finished_cases(run: Path, arguments: list[str]) -> Iterator[Case]:
    """Yield finished runs with a damaged summary, to be started again."""
    summary = (run / "summary.json").read_bytes()
    for seed in range(8):
        yield _case(f"summary {seed}", run, arguments, _write("summary.json", damaged(summary, seed)))
    for name, data in {"list": b"[]", "nothing": b"", "null": b"null", "nested": b"[" * 100_000, "empty": b"{}"}.items():
        yield _case(f"summary {name}", run, arguments, _write("summary.json", data))


def redrawn_cases(run: Path, key: str) -> Iterator[Case]:
    """Yield runs whose `rounds/` are damaged, of which the image `key`, whose guides look at them, is generated again."""
    for number, path in enumerate(sorted((run / "rounds").glob("*.safetensors"))):
        for seed in range(6):
            yield _redrawn(f"{path.name} {seed}", run, key, path.name, damaged(path.read_bytes(), 10 * number + seed))
    latents = min(path.name for path in (run / "rounds").glob("*-latents.safetensors"))
    for name, labels in {"list": "[]", "nested": "[" * 100_000, "words": '{"a": "b"}', "none": "null", "text": "x"}.items():
        header = json.dumps({"__metadata__": {"labels": labels}}).encode()
        yield _redrawn(f"labels {name}", run, key, latents, len(header).to_bytes(8, "little") + header)


def _redrawn(name: str, run: Path, key: str, file: str, data: bytes) -> Case:
    def build(folder: Path) -> list[str]:
        copy = link_tree(run, folder / "run")
        overwrite(copy / "rounds" / file, data)
        return ["generate", "--from-manifest", str(copy / "store"), "--key", key, "--out", str(folder / "out")]

    return Case(f"rounds {name}", build)


def _write(path: str, data: bytes) -> Change:
    return lambda root: overwrite(root / path, data)


def _saved(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def _wrong_states(state: dict[str, Any]) -> dict[str, Any]:
    """Return readable checkpoints that say something else: every entry missing, and of other kinds."""
    missing = {f"without {name}": {k: v for k, v in state.items() if k != name} for name in state}
    kinds: tuple[Any, ...] = (None, [], {}, 3, "x", torch.zeros(2), [1, 2, 3], [{}], {"a": torch.zeros(1)})
    other = {f"{name} = {str(kind)[:20]}": {**state, name: kind} for name in state for kind in kinds}
    whole = {f"only {str(kind)[:20]}": kind for kind in kinds}
    return {**missing, **other, **whole}
