"""A folder of class folders that grows, for scripts that read one: timm's train.py, torchvision's `ImageFolder`, any other.

    FOLDER/train/03-dress/real-0000017.png     the real images of the epoch under way
    FOLDER/train/03-dress/generated-r002-00005-1b2c3d4e.png   those generated so far
    FOLDER/val/03-dress/real-0000004.png       the images to measure on
    FOLDER/growing.json                        which epoch it is, written when the folder is whole

Class folders begin with the label, so that sorting their names gives the labels, whatever sorts them. The folder changes
between epochs only, in `update`; a script has to list it again then, as it does when it is started once an epoch.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from ..core import files
from ..core.errors import UserError, refuse_file, refuse_unknown
from ..data.datasets.folder import FolderImages
from ..data.datasets.imageset import ImageSet, Renamed, Subset
from .active import ActiveGeneration
from .waiting import from_first, generates_here

MARK = "growing.json"
LINKS = ("symlink", "hardlink", "copy")
_OURS = ("real-", "generated-", "drawn-")  # the last as an earlier version named them


@dataclass(frozen=True)
class _Wanted:
    """A file of the folder: a link to `path`, or image `index` of `images` written as PNG."""

    name: str
    path: Path | None
    images: ImageSet | None = None
    index: int = 0

    def place(self, target: Path, links: str) -> None:
        """Put the file at `target`. It does not wait for the disk: what is here can be made again."""
        if self.path is not None and links != "copy":
            _link(self.path, target, links)
            return
        part = target.with_name(target.name + files.PART)
        if self.path is not None:
            shutil.copyfile(self.path, part)
        elif self.images is not None:
            self.images.image(self.index).save(part, "PNG")
        part.replace(target)


class GrowingFolder:
    """The images of `active` in class folders. `links`: how files get there; images that are no files are written as PNG."""

    def __init__(self, active: ActiveGeneration, folder: str | Path, *, links: str = "symlink") -> None:
        """`UserError` for a folder that holds something else, or the images of another run."""
        self.active, self.folder, self.links = active, Path(folder), links
        refuse_unknown("links =", links, LINKS)
        _refuse_other(self.folder, self._store)

    @property
    def _store(self) -> Path:
        return self.active.dataset.store.resolve()

    def begin(self, epoch: int, model: nn.Module | None = None) -> None:
        """Hold the images of `epoch`; to be called before it is trained."""
        self.active.begin(epoch, model)
        self.update()

    def after_epoch(self, epoch: int, model: nn.Module | None = None) -> None:
        """Do the round that comes after `epoch`, and grow."""
        self.active.after_epoch(epoch, model)
        self.update()

    def update(self) -> None:
        """Make the folder hold what the epoch of `active` trains on: add what is missing, take out what is not of it."""
        if generates_here():
            epoch, generated = self.active.dataset.now
            mark = {"store": str(self._store), "links": self.links}
            _write(self.folder / MARK, {**mark, "epoch": None})
            self._fill(self.folder / "train", [*self._real(epoch), *self._generated()])
            if (test := self.active.test) is not None:
                self._fill(self.folder / "val", [_real(test, row) for row in range(len(test.labels))])
            _write(self.folder / MARK, {**mark, "epoch": epoch, "generated": generated})
        from_first((0, 0))  # the other processes wait until it is there

    def _real(self, epoch: int) -> Iterator[_Wanted]:
        dataset = self.active.dataset
        return (_real(dataset.real, row) for row in dataset.rows(epoch))

    def _generated(self) -> Iterator[_Wanted]:
        names = self.active.dataset.real.class_names
        for row in self.active.snapshot.rows:
            name = f"{class_folder(row['label'], names)}/generated-{row['key']}-{row['sha256'][:8]}.png"
            yield _Wanted(name, self._store / row["file_name"])

    def _fill(self, folder: Path, wanted: list[_Wanted]) -> None:
        there = _files(folder)
        for name in there - {one.name for one in wanted}:
            (folder / name).unlink()
        for parent in dict.fromkeys(Path(one.name).parent for one in wanted):
            files.make_folder(folder / parent)
        new = [one for one in wanted if one.name not in there]
        for one in new:
            one.place(folder / one.name, self.links)


def class_folder(label: int, names: Sequence[str]) -> str:
    """Return the name of a class's folder: the label, and the class's name in letters that any file system has."""
    width = len(str(len(names) - 1))
    return f"{label:0{width}d}-{re.sub(r'[^A-Za-z0-9.+-]+', '_', names[label])[:80]}"


def file_of(images: ImageSet, index: int) -> Path | None:
    """Return the file of an image; None if it has none of its own."""
    while not isinstance(images, FolderImages):
        if isinstance(images, Subset):
            index = images.indices[index]
        elif not isinstance(images, Renamed):
            return None
        images = images.parent
    return images.paths[index].resolve()


def _real(images: ImageSet, row: int) -> _Wanted:
    path = file_of(images, row)
    suffix = ".png" if path is None else path.suffix.lower()
    return _Wanted(f"{class_folder(images.labels[row], images.class_names)}/real-{row:07d}{suffix}", path, images, row)


def _files(folder: Path) -> set[str]:
    """Return the files of ours below `folder`, as CLASS/NAME; what a stop left half-written is removed."""
    found = set()
    for path in folder.glob("*/*") if folder.is_dir() else ():
        if path.name.endswith(files.PART):
            path.unlink()
        elif path.name.startswith(_OURS):
            found.add(f"{path.parent.name}/{path.name}")
    return found


def _link(source: Path, target: Path, links: str) -> None:
    try:
        if links == "symlink":
            target.symlink_to(source)
        else:
            os.link(source, target)
    except OSError as error:
        raise UserError(
            f"{target} cannot be a {links} to {source} ({error.strerror}). Give another of: {', '.join(LINKS)}."
        ) from error


def _write(path: Path, facts: dict[str, object]) -> None:
    files.write_text(path, json.dumps(facts) + "\n")


def _refuse_other(folder: Path, store: Path) -> None:
    refuse_file(folder)
    mark = folder / MARK
    if folder.is_dir() and any(folder.iterdir()) and not mark.is_file():
        raise UserError(f"{folder} is not empty and is no growing folder. Give a new or empty one.")
    try:
        held = json.loads(mark.read_text(encoding="utf-8"))["store"] if mark.is_file() else str(store)
    except (ValueError, KeyError, TypeError):
        held = "something unreadable"
    if held != str(store):
        raise UserError(f"{folder} holds the images of {held}, not those of {store}. Give a new or empty folder.")
