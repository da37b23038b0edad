"""A folder of somebody's as it lies there: pictures, other files, sub-folders; looked through once, nothing decided yet."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import UserError
from ...core.marker import is_output
from .account import Account
from .decoding import is_picture
from .names import printable

_DEEPEST = 64  # folders within folders
_SYSTEM = frozenset(("__MACOSX", "__pycache__", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found"))
HIDDEN, SYSTEM, OUTPUT = "hidden", "a system's own", "in a folder that actgen wrote"
NO_PICTURE = "not a picture that Pillow opens"


@dataclass(frozen=True, kw_only=True)
class Folder:
    """`pictures` and `others`: files that look like pictures and files that do not; `bad`: links that are not followed, with
    the reasons. All are sorted by name.
    """

    path: Path
    pictures: tuple[Path, ...]
    others: tuple[Path, ...]
    folders: tuple[Folder, ...]
    bad: tuple[tuple[Path, str], ...] = ()

    @property
    def name(self) -> str:
        """The folder's name, letters and accents in one form (NFC), as it is called on any system."""
        return unicodedata.normalize("NFC", self.path.name)

    def all_pictures(self) -> Iterator[Path]:
        """Yield the pictures here and below: as they are sorted by path."""
        parts: list[tuple[str, Path | Folder]] = [(path.name, path) for path in self.pictures]
        parts += [(folder.path.name, folder) for folder in self.folders]
        for _, part in sorted(parts, key=lambda named: named[0]):
            if isinstance(part, Folder):
                yield from part.all_pictures()
            else:
                yield part

    def all_bad(self) -> Iterator[tuple[Path, str]]:
        """Yield the links that are not followed, here and below."""
        yield from self.bad
        for folder in self.folders:
            yield from folder.all_bad()

    @property
    def is_empty(self) -> bool:
        """Whether there is no picture here or below, nor a link that could lead to one."""
        return not self.pictures and not self.bad and all(folder.is_empty for folder in self.folders)


def look_through(root: Path, account: Account, *, inside: Path | None = None, follow_links: bool = False) -> Folder:
    """Return what lies in `root`; hidden files, those of systems and what actgen wrote itself are noted as not used.

    `UserError` for a folder that actgen wrote, and for one that is too deep. Links that stay inside are files like others; what
    leads out (of `inside`, or `root`), and every link to a folder, is in `bad` unless `follow_links`.
    """
    if is_output(set(os.listdir(root))):
        raise UserError(
            f"{printable(root)} is what actgen wrote: a run, a bench or a probe. Its images are no data to begin with; "
            "`actgen store export RUN/store --format imagefolder --out FOLDER` makes a data set of them."
        )
    return _Walk(Path(os.path.realpath(inside or root)), account, follow_links).folder(root, ())


@dataclass(frozen=True)
class _Walk:
    inside: Path
    account: Account
    follow_links: bool

    def folder(self, path: Path, above: tuple[str, ...]) -> Folder:
        """Look through one folder; `above`: the real paths of those that hold it."""
        if len(above) > _DEEPEST:
            raise UserError(
                f"{printable(path.parents[_DEEPEST - 1])} has folders within folders, more than {_DEEPEST} deep. "
                "Give the images in class folders."
            )
        here = (*above, os.path.realpath(path))
        pictures, others, folders, bad = list[Path](), list[Path](), list[Folder](), list[tuple[Path, str]]()
        for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
            one, is_folder = path / entry.name, entry.is_dir()
            if entry.name.startswith(".") or entry.name in _SYSTEM:
                self._leave(one, HIDDEN if entry.name.startswith(".") else SYSTEM)
            elif is_folder and (problem := self._folder_problem(one, entry.is_symlink(), here)):
                bad.append((one, problem))
            elif is_folder and is_output(set(os.listdir(one))):
                self._leave(one, OUTPUT)
            elif is_folder:
                found = self.folder(one, here)
                if not (found.is_empty and _holds_output(one)):
                    folders.append(found)
            elif not is_picture(one):
                others.append(one)
            elif entry.is_symlink() and (problem := self._escape(one)):
                bad.append((one, problem))
            else:
                pictures.append(one)
        return Folder(path=path, pictures=tuple(pictures), others=tuple(others), folders=tuple(folders), bad=tuple(bad))

    def _folder_problem(self, path: Path, is_link: bool, above: tuple[str, ...]) -> str:
        if not is_link:
            return ""
        if os.path.realpath(path) in above:
            return f"{printable(path)} is a link to a folder that holds it, and would go on for ever. Remove the link."
        if self.follow_links:
            return ""
        return self._escape(path) or (
            f"{printable(path)} is a link to a folder, and its images might count twice. "
            "Move the folder here, remove the link, or give --follow-links."
        )

    def _escape(self, path: Path) -> str:
        """Return what is wrong with a link that leads out of the data; "" if nothing is."""
        target = Path(os.path.realpath(path))
        if self.follow_links or target.is_relative_to(self.inside):
            return ""
        return (
            f"{printable(path)} is a link to {printable(target)}, outside {printable(self.inside)}. "
            "Give --follow-links if you trust who made it, or put a copy in its place."
        )

    def _leave(self, path: Path, reason: str) -> None:
        if path.is_dir() and not path.is_symlink():
            self.account.leave((Path(top, name) for top, _, names in os.walk(path) for name in sorted(names)), reason)
        else:
            self.account.leave([path], reason)


def _holds_output(folder: Path) -> bool:
    """Whether there is a folder below that actgen wrote."""
    return any(is_output({*below, *names}) for _, below, names in os.walk(folder))
