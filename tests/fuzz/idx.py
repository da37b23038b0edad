"""Files of MNIST's format, damaged; shapes and lengths that lie; class names of all kinds."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from actgen.data.datasets.idx import encode_idx

from .case import Case
from .damage import damaged

ROUNDS = 40
IMAGES, LABELS, NAMES = "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "class_names.txt"


def _files() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    files = {NAMES: b"cat\ndog\n"}
    for stem in ("train", "t10k"):
        files[f"{stem}-images-idx3-ubyte"] = encode_idx(rng.integers(0, 256, (8, 8, 8), dtype=np.uint8))
        files[f"{stem}-labels-idx1-ubyte"] = encode_idx(np.array([0, 1] * 4, dtype=np.uint8))
    return files


def _case(name: str, changes: dict[str, bytes | None]) -> Case:
    def build(folder: Path) -> list[str]:
        (folder / "data").mkdir()
        for file, data in {**_files(), **changes}.items():
            if data is not None:
                (folder / "data" / file).write_bytes(data)
        return [
            "train",
            "--data",
            f"idx:{folder / 'data'}",
            "--out",
            str(folder / "out"),
            "--strategy",
            "none",
            "--epochs",
            "1",
            "--set",
            "training.batch_size=2",
            "--dry-run",
        ]

    return Case(f"idx {name}", build)


def cases() -> Iterator[Case]:
    files = _files()
    for seed in range(ROUNDS):
        name = (IMAGES, LABELS)[seed % 2]
        if seed % 3:
            yield _case(f"{name} {seed}", {name: damaged(files[name], seed)})
        else:
            packed = damaged(gzip.compress(files[name], mtime=0), seed)
            yield _case(f"{name}.gz {seed}", {name: None, f"{name}.gz": packed})
    for name, changes in by_hand().items():
        yield _case(name, changes)


def _shape(*sizes: int, data: bytes = b"") -> bytes:
    return bytes((0, 0, 8, len(sizes))) + struct.pack(f">{len(sizes)}I", *sizes) + data


def by_hand() -> dict[str, dict[str, bytes | None]]:
    bomb = gzip.compress(_shape(8, 8, 8, data=bytes(2**26)), 1)
    images: dict[str, bytes] = {
        "empty": b"",
        "no shape": _shape(),
        "floats": b"\0\0\x0d\x03" + bytes(100),
        "lies": _shape(2**32 - 1, 2**32 - 1, 2**32 - 1),
        "wraps around": _shape(2**32 - 1, 2**32 - 1, 2, 2**31),
        "255 dimensions": _shape(*[2] * 255),
        "flat": _shape(8, 0, 8),
        "none": _shape(0, 8, 8),
        "one dimension": _shape(512, data=bytes(512)),
        "too long": _shape(8, 8, 8, data=bytes(513)),
        "text": b"not an idx file",
        "more than memory": _shape(2**31, 1, 1),
    }
    names = {
        "names in latin-1": b"caf\xe9\nth\xe9\n",
        "too few names": b"cat\n",
        "no names": b"",
        "the same name": b"cat\ncat\n",
        "large names": b"x" * (2**20 + 1),
        "a mark and escapes": b"\xef\xbb\xbfc\x1b[31mat\n\xe2\x80\xaedog\n",
        "markup": b"<script>alert(1)</script>\n[bold red]'\"\\{}%s\n",
    }
    return {
        **{f"images: {name}": {IMAGES: data} for name, data in images.items()},
        **{f"labels: {name}": {LABELS: data} for name, data in images.items()},
        **{name: {NAMES: data} for name, data in names.items()},
        "no labels": {LABELS: None},
        "a bomb": {IMAGES: None, f"{IMAGES}.gz": bomb},
        "label above all": {LABELS: encode_idx(np.array([0, 255] * 4, dtype=np.uint8)), NAMES: None},
    }
