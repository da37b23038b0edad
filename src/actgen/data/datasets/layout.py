"""A folder of somebody's -> which files are images of which class and split; asked where it could mean two things.

Tried in this order: a table that names files and classes, folders for training and test, folders for the classes, names that
begin with the class. What is not used is noted with its reason.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...core.errors import UserError
from ...core.text import brief, visible
from .account import Account
from .flat_names import by_names
from .names import printable
from .reading import AUTO, CLASSES, NAMES, SPLITS, TABLE, Reading
from .split_words import TEST, TRAIN, VALIDATION, pure_split, split_kinds
from .tables import SUFFIXES, Labelled, Table, read_table, resolve
from .tree import NO_PICTURE, Folder

UNUSED_FOLDER = "in a folder that is no split"
BESIDE = "beside the class folders"
NOT_SAID = "its name does not say a class"
NO_ROW = "the table has no line for it"
_MOST_NESTED = 16


@dataclass(frozen=True, kw_only=True)
class SplitPart:
    """The images of one split: files and their classes; `base` is the folder that their keys begin at. `empty`: classes whose
    folder is there without an image.
    """

    base: Path
    classes: Mapping[Path, str]
    empty: tuple[str, ...] = ()
    name: str = ""


Parts = dict[str, SplitPart]
"""The split (train, validation, test) -> its images."""


def find_parts(root: Folder, reading: Reading, account: Account) -> Parts:
    """Return the splits of a folder; `UserError` where it holds none, or could mean two things and `reading` does not say."""
    parts = _Layout(reading, account).parts(_inner(root, account, reading))
    used = {path for part in parts.values() for path in part.classes}
    account.leave((path for path in _every(root) if path not in used), NO_PICTURE)
    return parts


def class_folders(folder: Folder, account: Account, *, train: bool) -> SplitPart:
    """Return the images of a folder whose sub-folders are its classes."""
    return _Layout(Reading(layout=CLASSES), account).part(folder, train=train)


def _every(folder: Folder) -> Iterator[Path]:
    yield from folder.pictures
    yield from folder.others
    for inside in folder.folders:
        yield from _every(inside)


def _inner(folder: Folder, account: Account, reading: Reading) -> Folder:
    """Return the one folder that everything is in, if there is only one and it is neither a class nor a split."""
    for _ in range(_MOST_NESTED):
        if folder.pictures or len(folder.folders) != 1 or _has_table(folder, reading):
            break
        only = folder.folders[0]
        if only.is_empty or pure_split(only.name) or only.name in (reading.train, reading.test):
            break
        if not only.folders and by_names(only.pictures) is None and not _has_table(only, reading):
            break  # a class
        folder = only
        account.notes.append(f"read from {printable(folder.path)}, the only folder that holds images")
    return folder


def _has_table(folder: Folder, reading: Reading) -> bool:
    return any(isinstance(read_table(path, reading), Table) for path in _tables_here(folder))


def _tables_here(folder: Folder) -> list[Path]:
    return [path for path in folder.others if path.suffix.lower() in SUFFIXES]


@dataclass(frozen=True)
class _Layout:
    reading: Reading
    account: Account
    refused: list[str] = field(default_factory=list)

    def parts(self, root: Folder) -> Parts:
        """Return the splits of a folder, whatever its layout."""
        layout = self.reading.layout
        tables = self._tables(root) if layout in (AUTO, TABLE) else []
        kinds = self._kinds(root) if layout in (AUTO, SPLITS) else {}
        if tables and (layout == TABLE or self._is_table(root, tables, kinds)):
            return self._by_tables(root, tables)
        if layout == TABLE and not any(self._tables(inside) for inside in root.folders):
            reasons = f" ({self.refused[0]})" if self.refused else ""
            raise UserError(
                f"{printable(root.path)} has no CSV file or metadata.jsonl with columns for files and classes{reasons}. "
                "Give --set reading.file_column=COLUMN and reading.label_column=COLUMN, or another layout."
            )
        if layout == TABLE:
            kinds = self._kinds(root)
        if kinds:
            return self._by_splits(root, kinds)
        if layout == SPLITS:
            raise UserError(
                f"{printable(root.path)} has no folder for training. Say which folders are splits: --set reading.train=FOLDER "
                "and --set reading.test=FOLDER."
            )
        return {TRAIN: self.part(root, train=True)}

    def part(self, folder: Folder, *, train: bool) -> SplitPart:
        """Return the images of a folder that is one split."""
        folder = folder if self.reading.layout == CLASSES else self._within(folder)
        full = [inside for inside in folder.folders if not inside.is_empty]
        layout = self.reading.layout
        if layout in (AUTO, TABLE) and (tables := self._tables(folder)) and (layout == TABLE or len(full) < 2):
            labelled = self._resolved(tables, list(folder.all_pictures()))
            if labelled.classes:
                return self._finished(folder, labelled.classes, NO_ROW)
        if layout == NAMES or (layout != CLASSES and len(full) < 2 and folder.pictures):
            said = by_names(list(folder.all_pictures()) if layout == NAMES else folder.pictures)
            if said is not None:
                return self._finished(folder, said, NOT_SAID)
            if layout == NAMES:
                raise UserError(
                    f"the names in {printable(folder.path)} do not begin with two classes or more, as in cat.1.jpg. "
                    "Put the images in class folders, or list them in a CSV file with the columns file and label."
                )
        return self._by_folders(folder, train=train)

    def _within(self, folder: Folder) -> Folder:
        """Return the folder in a split's folder that holds all of it ("seg_train/seg_train"), else the split's folder."""
        full = [inside for inside in folder.folders if not inside.is_empty]
        if len(full) == 1 and not folder.pictures and len(folder.folders) == 1 and not full[0].pictures and full[0].folders:
            return self._within(full[0])
        return folder

    def _by_folders(self, folder: Folder, *, train: bool) -> SplitPart:
        if not folder.folders and not any(path.is_dir() for path, _ in folder.bad):
            more = (
                f" The {len(folder.pictures)} pictures in it could also be named by their class (cat.1.jpg), or listed in "
                "a CSV file with the columns file and label."
                if folder.pictures
                else ""
            )
            raise UserError(
                f"{printable(folder.path)} has no class folders. It must hold one sub-folder of images per class.{more}"
            )
        self.account.bad.meet([problem for _, problem in folder.all_bad()])
        self.account.leave((path for path, _ in folder.all_bad()), "a link that is not followed")
        self.account.leave(folder.pictures, BESIDE)
        self._refuse_same_inside(folder)
        classes, empty = dict[Path, str](), list[str]()
        spelled: dict[str, Folder] = {}
        for inside in folder.folders:
            if (other := spelled.setdefault(inside.name, inside)) is not inside:
                raise UserError(
                    f"{printable(other.path)} and {printable(inside.path)} are one name in two Unicode forms. "
                    "Put their images into one folder."
                )
            found = dict.fromkeys(inside.all_pictures(), inside.name)
            classes |= found
            if not found:
                empty.append(inside.name)
        if empty and train:
            path = next(inside.path for inside in folder.folders if inside.name == empty[0])
            raise UserError(
                f"{printable(path)} has no images (PNG, JPEG or what else Pillow opens). "
                "Add some, or remove the folder if it is not a class."
            )
        return SplitPart(base=folder.path, classes=classes, empty=tuple(empty), name=folder.name)

    def _finished(self, folder: Folder, classes: Mapping[Path, str], reason: str) -> SplitPart:
        self.account.leave((path for path in folder.all_pictures() if path not in classes), reason)
        named = {path: unicodedata.normalize("NFC", name) for path, name in classes.items()}
        return SplitPart(base=folder.path, classes=dict(sorted(named.items())), name=folder.name)

    # folders for training and test

    def _kinds(self, root: Folder) -> dict[str, Folder]:
        """Return the folders of the splits by kind; nothing if the folders are classes. `UserError` if they could be both."""
        by_name = {inside.name: inside for inside in root.folders}
        if self.reading.train or self.reading.test:
            return self._said(root, by_name)
        kinds = split_kinds(list(by_name))
        others = [inside for name, inside in by_name.items() if name not in kinds and not inside.is_empty]
        if not kinds:
            return {}
        found: dict[str, Folder] = {}
        for name, kind in kinds.items():
            if (other := found.setdefault(kind, by_name[name])).name != name:
                raise self._question(root, f"{visible(other.name)} and {visible(name)} could both be its {kind} images")
        if TRAIN not in found:
            if others and not any(inside.folders for inside in found.values()) and found.keys() <= {VALIDATION, TEST}:
                names = " and ".join(visible(inside.name) for inside in found.values())
                raise self._question(root, f"{names} could be a split or a class")
            if others:
                raise self._question(root, f"{visible(others[0].name)} is no split, but others are")
            names = " and ".join(visible(inside.name) for inside in found.values())
            raise UserError(
                f"{printable(root.path)} has {names}, but no train folder. Add one, or say which folder is trained on "
                f"(--set reading.train={visible(next(iter(found.values())).name)}), or that all are classes (--layout classes)."
            )
        if not others:
            return found
        if not found[TRAIN].folders and len(found) == 1:
            return {}  # trains may be a class
        if len(found) == 1 and self.reading.layout == AUTO:
            raise self._question(root, f"{visible(others[0].name)} lies beside {visible(found[TRAIN].name)}")
        self.account.leave((path for inside in others for path in inside.all_pictures()), UNUSED_FOLDER)
        return found

    def _said(self, root: Folder, by_name: Mapping[str, Folder]) -> dict[str, Folder]:
        wanted = {kind: name for kind, name in ((TRAIN, self.reading.train), (TEST, self.reading.test)) if name}
        for kind, name in wanted.items():
            if name not in by_name:
                raise UserError(
                    f"reading.{kind} = {brief(name)}: {printable(root.path)} has no such folder, only "
                    f"{', '.join(map(visible, list(by_name)[:8])) or 'none'}. Give one of them."
                )
        kinds = split_kinds([name for name in by_name if name not in wanted.values()])
        found = {kind: by_name[name] for name, kind in kinds.items()} | {kind: by_name[name] for kind, name in wanted.items()}
        if TRAIN not in found:
            raise UserError(f"{printable(root.path)} has no folder for training. Give --set reading.train=FOLDER too.")
        rest = [inside for inside in by_name.values() if inside not in found.values()]
        self.account.leave((path for inside in rest for path in inside.all_pictures()), UNUSED_FOLDER)
        return found

    def _by_splits(self, root: Folder, kinds: Mapping[str, Folder]) -> Parts:
        self.account.leave(root.pictures, BESIDE)
        return {kind: self.part(inside, train=kind == TRAIN) for kind, inside in kinds.items() if self._says(kind, inside)}

    def _says(self, kind: str, folder: Folder) -> bool:
        """Whether a split can be measured on; pictures for testing without classes are noted and left out."""
        inner = self._within(folder)
        if kind == TRAIN or inner.folders or inner.bad or self._tables(inner) or by_names(inner.pictures) is not None:
            return True
        if not inner.pictures:
            return True
        self.account.notes.append(
            f"{visible(folder.name)} is not used: nothing says the classes of its {len(inner.pictures)} pictures"
        )
        self.account.leave(inner.pictures, "nothing says its class")
        return False

    def _question(self, root: Folder, why: str) -> UserError:
        return UserError(
            f"{printable(root.path)} could mean two things: {why}. Splits: give --layout splits, or --set reading.train=FOLDER "
            "and --set reading.test=FOLDER.\nEvery sub-folder is a class: give --layout classes."
        )

    def _refuse_same_inside(self, folder: Folder) -> None:
        """Ask where all folders hold the same sub-folders: are they classes, or splits?"""
        if self.reading.layout in (CLASSES, SPLITS) or len(folder.folders) < 2:
            return
        inside = [{one.name for one in part.folders if not one.is_empty} for part in folder.folders if not part.is_empty]
        shared = set.intersection(*inside) if len(inside) > 1 else set()
        if len(shared) > 1:
            names, same = [visible(part.name) for part in folder.folders], sorted(shared)
            raise UserError(
                f"{printable(folder.path)} could mean two things: all its folders hold {visible(same[0])} and "
                f"{visible(same[1])}. Splits of these classes: give --set reading.train={names[0]} and "
                f"--set reading.test={names[1]}.\n"
                f"{names[0]} and {names[1]} are the classes: give --layout classes."
            )

    # tables

    def _tables(self, folder: Folder) -> list[Table]:
        """Return the tables of a folder that say classes of files; of others note why they do not."""
        found = []
        for path in _tables_here(folder):
            table = read_table(path, self.reading)
            if isinstance(table, Table) and any(True for _ in folder.all_pictures()):
                found.append(table)
            elif isinstance(table, str):
                self.refused.append(f"{printable(path)} is {table}")
                self.account.leave([path], table)
        return found

    def _is_table(self, root: Folder, tables: Sequence[Table], kinds: Mapping[str, Folder]) -> bool:
        """Whether the tables say the classes; `UserError` if folders say others."""
        labelled = self._resolved(tables, list(root.all_pictures()), note=False)
        if not labelled.classes:
            self.account.leave((table.path for table in tables), "a table whose files are not here")
            return False
        if kinds:
            return not any(inside.folders for inside in kinds.values())
        full = [inside for inside in root.folders if not inside.is_empty]
        if len(full) < 2:
            return True
        folders = {path: inside.name for inside in full for path in inside.all_pictures()}
        same = sum(folders.get(path) == label for path, label in labelled.classes.items())
        if same == len(labelled.classes):
            return False
        raise UserError(
            f"{printable(root.path)} could mean two things: {printable(tables[0].path.name)} gives "
            f"{len(set(labelled.classes.values()))} classes, and there are {len(full)} folders. By the table: give "
            "--layout table.\nEvery sub-folder is a class: give --layout classes."
        )

    def _resolved(self, tables: Sequence[Table], pictures: Sequence[Path], *, note: bool = True) -> Labelled:
        parts = [resolve(table, pictures) for table in tables]
        classes, splits = dict[Path, str](), dict[Path, str]()
        for table, part in zip(tables, parts, strict=True):
            kind = pure_split(table.path.stem) or ""
            for path, label in part.classes.items():
                if classes.setdefault(path, label) != label:
                    raise UserError(
                        f"{printable(table.path)} says {brief(label)} of {printable(path)}, and another table "
                        f"{brief(classes[path])}. Leave one of the tables, or of the lines."
                    )
                splits.setdefault(path, part.splits[path] or kind)
            if part.missing and note:
                self.account.notes.append(
                    f"{len(part.missing)} lines of {printable(table.path)} name no picture that is here, or no class; the "
                    f"first: {brief(part.missing[0])}"
                )
        return Labelled(classes=classes, splits=splits, missing=tuple(name for part in parts for name in part.missing))

    def _by_tables(self, root: Folder, tables: Sequence[Table]) -> Parts:
        self.account.bad.meet([problem for _, problem in root.all_bad()])
        labelled = self._resolved(tables, list(root.all_pictures()))
        top = {path: inside.name for inside in root.folders for path in inside.all_pictures()}
        found: dict[str, dict[Path, str]] = {}
        for path, label in labelled.classes.items():
            folder = top.get(path, "")
            value = labelled.splits[path] or (folder if pure_split(folder) else "")
            found.setdefault(self._kind(tables[0], value), {})[path] = label
        self.account.leave((path for path in root.all_pictures() if path not in labelled.classes), NO_ROW)
        self.account.leave((table.path for table in tables), "the table that was read")
        if TRAIN not in found:
            raise UserError(
                f"{printable(tables[0].path)} names no images for training. Give --set reading.train=VALUE of its split."
            )
        return {
            kind: SplitPart(base=root.path, classes=self._finished(root, classes, NO_ROW).classes, name=kind)
            for kind, classes in found.items()
        }

    def _kind(self, table: Table, value: str) -> str:
        for kind, wanted in ((TRAIN, self.reading.train), (TEST, self.reading.test)):
            if wanted and value == wanted:
                return kind
        if not value:
            return TRAIN
        if (said := pure_split(value)) is None:
            raise UserError(
                f"{printable(table.path)} has {brief(value)} in its column {brief(table.split)}, which is no split. Say which "
                "values are: --set reading.train=VALUE and --set reading.test=VALUE."
            )
        return said
