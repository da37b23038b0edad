"""Pictures in one folder whose names begin with their class: `cat.1.jpg`, `great_pyrenees_12.jpg`, `dog (3).png`."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

_NAME = re.compile(r"^(?P<name>.*?[^\W\d_].*?)[\s._-]*\(?\d+\)?$")
_CAMERAS = frozenset(("img", "dsc", "dscn", "dscf", "pic", "image", "photo", "picture", "frame", "screenshot", "p", "im"))


def class_of(path: Path) -> str | None:
    """Return what stands before the last number of a file's name, without its suffix; None where nothing does.

    Names that cameras and programs give (`IMG_0001.jpg`) say no class.
    """
    found = _NAME.match(unicodedata.normalize("NFC", path.stem))
    name = found["name"].strip(" ._-(") if found else ""
    return None if not name or name.lower() in _CAMERAS else name


def by_names(pictures: Sequence[Path]) -> dict[Path, str] | None:
    """Return the class of each picture by its name; None unless there are two classes or more, of two pictures each, and they
    are at least nine tenths of the pictures.
    """
    classes = {path: name for path in pictures if (name := class_of(path))}
    enough = {name for name, count in Counter(classes.values()).items() if count > 1}
    said = {path: name for path, name in classes.items() if name in enough}
    return said if len(enough) > 1 and len(said) >= 0.9 * len(pictures) else None
