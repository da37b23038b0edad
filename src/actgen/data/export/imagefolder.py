"""Class folders, as torchvision's ImageFolder, timm, Hugging Face's imagefolder and `--data` read them.

OUT/train/CLASS/KEY.png     the image; CLASS is the class name, made fit for a folder by `names.folder_name`
OUT/train/metadata.jsonl    a line an image
OUT/classes.json            label, class_name and folder of every class
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from ...core.errors import UserError
from ..datasets.names import folder_name
from .columns import FILE
from .contents import Entry

METADATA, CLASSES = "metadata.jsonl", "classes.json"


def write_imagefolder(out: Path, split: str, entries: Iterable[Entry], class_names: Sequence[str], *, link: bool) -> None:
    """Write a split into OUT/SPLIT; the columns have to be without gaps.

    With `link` images of the store become hard links to it, instead of copies.
    """
    folders = [folder_name(name) for name in class_names]
    root = out / split
    root.mkdir()
    with (root / METADATA).open("w", encoding="utf-8") as lines:
        for entry in entries:
            name = f"{folders[entry.label]}/{entry.name}.png"
            _put(entry, root / name, link=link)
            lines.write(json.dumps({FILE: name, **entry.cells}, ensure_ascii=False) + "\n")
    classes = [{"label": label, "class_name": name, "folder": folders[label]} for label, name in enumerate(class_names)]
    (out / CLASSES).write_text(json.dumps(classes, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _put(entry: Entry, path: Path, *, link: bool) -> None:
    path.parent.mkdir(exist_ok=True)
    if not link or entry.file is None:
        with path.open("xb") as file:
            file.write(entry.png)
        return
    try:
        os.link(entry.file.resolve(), path)
    except OSError as error:
        if error.errno in (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP):
            raise UserError(
                f"--link: {entry.file} cannot be linked to {path.parent} ({error.strerror}). Leave out --link to "
                "copy the images, or give an --out on the disk of the store."
            ) from error
        raise
