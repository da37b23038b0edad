"""Folders as nobody has thought of them: random trees of pictures and other files, tables in every form and damaged."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

from tests.support.layouts import PNG

from .case import Case
from .damage import NASTY, damaged

TREES, TABLES = 500, 400
_FOLDERS = (
    "train",
    "test",
    "val",
    "Training",
    "seg_train",
    "seg_test",
    "dev",
    "cat",
    "dog",
    "images",
    "a b",
    ".git",
    "ca\u0301t",
    "x",
)
_FILES = (
    "1.png",
    "2.png",
    "cat.1.png",
    "cat.2.png",
    "dog.1.png",
    "dog.2.png",
    "IMG_1.png",
    "notes.txt",
    "x.heic",
    ".DS_Store",
    "p",
)
_LAYOUTS = ("auto", "auto", "auto", "classes", "splits", "names", "table")


def _command(folder: Path, layout: str, choice: str = "refuse") -> list[str]:
    return ["data", str(folder / "data"), "--layout", layout, "--on-bad-image", choice]


def _tree(seed: int) -> Case:
    rng = random.Random(seed)

    def build(folder: Path) -> list[str]:
        (folder / "data").mkdir()
        tops = rng.sample(_FOLDERS, rng.randint(0, 4))
        inner = rng.sample(_FOLDERS, rng.randint(0, 3))
        for top in tops or [""]:
            for inside in inner if rng.random() < 0.7 else [""]:
                place = folder / "data" / top / inside
                place.mkdir(parents=True, exist_ok=True)
                for name in rng.sample(_FILES, rng.randint(0, 6)):
                    if not (place / name).exists():
                        (place / name).write_bytes(PNG if rng.random() < 0.95 else b"no picture")
        if rng.random() < 0.1:
            (folder / "data" / "link").symlink_to(folder / "data")
        return _command(folder, rng.choice(_LAYOUTS), rng.choice(("refuse", "skip")))

    return Case(f"tree {seed}", build)


def _rows(rng: random.Random) -> list[list[str]]:
    head = [rng.choice(("file", "image_id", "name", "nothing")), rng.choice(("label", "breed", "class", "other"))]
    head += rng.sample(["split", "label", "x", "file"], rng.randint(0, 2))
    names = [f"{i}{rng.choice(('.png', '', '.jpg'))}" for i in range(8)]
    values = ["a", "b", "", "train", "test", "1", "\u202e", "x" * 500]
    return [head, *([name, *(rng.choice(values[:2] if rng.random() < 0.8 else values) for _ in head[1:])] for name in names)]


def _table(seed: int) -> Case:
    rng = random.Random(10_000 + seed)

    def build(folder: Path) -> list[str]:
        images = folder / "data" / rng.choice(("images", "", "train"))
        images.mkdir(parents=True)
        for i in range(8):
            (images / f"{i}.png").write_bytes(PNG)
        rows, mark = _rows(rng), rng.choice((",", ";", "\t", "|"))
        text = "\n".join(mark.join(row) for row in rows)
        name = rng.choice(("labels.csv", "train.csv", "metadata.csv", "metadata.jsonl", "t.tsv"))
        if name.endswith("l"):
            odd = rng.choice(NASTY) if rng.random() < 0.3 else "a"
            text = "\n".join(json.dumps({"file_name": f"{i}.png", "label": odd if i == 3 else "ab"[i % 2]}) for i in range(8))
        data = text.encode("utf-8", "surrogatepass")
        path = (folder / "data" if rng.random() < 0.7 else images) / name
        path.write_bytes(damaged(data, seed) if rng.random() < 0.5 else data)
        return _command(folder, rng.choice(("auto", "auto", "table")))

    return Case(f"table {seed}", build)


def cases() -> Iterator[Case]:
    """Yield trees and tables."""
    yield from map(_tree, range(TREES))
    yield from map(_table, range(TABLES))
