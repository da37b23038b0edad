"""Shards of webdataset: tar files of KEY.png, KEY.cls (the label) and KEY.json (all columns), which belong together.

OUT/train-00000.tar  train-00001.tar ...
OUT/classes.json     label and class_name of every class
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from .contents import Entry
from .shards import sharded

CLASSES = "classes.json"


def write_webdataset(out: Path, split: str, entries: Iterable[Entry], class_names: Sequence[str], *, most: int) -> None:
    """Write a split into shards of about `most` bytes. The columns have to be without gaps."""
    for number, shard in sharded(entries, most):
        with tarfile.open(out / f"{split}-{number:05d}.tar", "x") as tar:
            for entry in shard:
                _add(tar, entry)
    classes = [{"label": label, "class_name": name} for label, name in enumerate(class_names)]
    (out / CLASSES).write_text(json.dumps(classes, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _add(tar: tarfile.TarFile, entry: Entry) -> None:
    name = entry.name.replace(".", "%2E")  # the first point is where the key ends
    cells = json.dumps(entry.cells, ensure_ascii=False).encode()
    for end, data in (("cls", str(entry.label).encode()), ("json", cells), ("png", entry.png)):
        member = tarfile.TarInfo(f"{name}.{end}")
        member.size, member.mode = len(data), 0o644
        tar.addfile(member, io.BytesIO(data))
    tar.members.clear()  # type: ignore[attr-defined]  # or it keeps every header until it is closed
