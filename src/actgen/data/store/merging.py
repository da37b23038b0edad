"""Stores of several machines become one: every image once, every line as it was, the chain made anew.

A line keeps all that it said and gains where it came from: `merged_from`, the store's name and the key there. The same call
on the same folder goes on where it was stopped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import UserError
from ...core.lock import locked
from ...core.text import brief
from .chain import CHAIN
from .lines import parse_line
from .manifest import Manifest, Row, Rows, encode
from .store import MANIFEST, Store, refuse_no_store, refuse_other_folder

TOGETHER = 64  # images written at a time
FROM = "merged_from"


@dataclass(frozen=True)
class Merged:
    """What came of it: `images` in the new store, how many were there `twice` in the old ones, how many are `renamed`."""

    images: int
    twice: int
    renamed: int


@dataclass(frozen=True)
class _Taken:
    """A line that is to be in the new store under `key`: number `number` of the lines `rows` of the store `folder`."""

    key: str
    label: int
    folder: Path
    rows: Rows
    number: int

    def row(self) -> dict[str, object]:
        """Return the new line, without its chain."""
        row = self.rows[self.number]
        came = {"store": self.folder.name, "key": row["key"]}
        new: dict[str, object] = {**row, "key": self.key, "file_name": f"images/{self.key}.png", FROM: came}
        new.pop(CHAIN, None)
        return new

    def image(self) -> bytes:
        """Return the bytes of the image; `UserError` if they are not those that the line names."""
        row = self.rows[self.number]
        file = self.folder / row["file_name"]
        data = file.read_bytes() if file.is_file() else b""
        if hashlib.sha256(data).hexdigest() != row["sha256"]:
            raise UserError(f"{file} is missing, or not what its line says. {_verify(self.folder)}")
        return data


def merge(folders: Sequence[Path], out: Path, *, prefix: str = "", on_progress: Callable[[int], None] | None = None) -> Merged:
    """Join the stores `folders` into the store `out`; `on_progress` hears how many images are there.

    An image that an earlier store holds too is taken once. A key that stands for another image in an earlier store gets
    `prefix`, the number of its store (from 1) and a dash in front. `UserError` where that is needed and not given, for classes
    that contradict each other, for damaged images, and for an `out` that holds anything else.
    """
    for folder in folders:
        refuse_no_store(folder)
        if folder.resolve() == out.resolve():
            raise UserError(f"--out {out} is one of the stores to be merged. Give a new folder.")
    if len(folders) < 2:
        raise UserError(f"one store, {folders[0]}, is no merger. Give two or more.")
    refuse_other_folder(out)
    plan = _Plan(prefix)
    for folder in folders:
        plan.take(folder)
    taken = list(plan.taken.values())
    with locked(out):
        _write(Store(out), taken, on_progress)
    return Merged(len(taken), plan.twice, plan.renamed)


def _write(store: Store, taken: Sequence[_Taken], on_progress: Callable[[int], None] | None) -> None:
    """Add what is not there yet; `UserError` if what is there is not the beginning of it."""
    there = store.manifest.rows()
    if len(there) > len(taken) or any(_without_chain(row) != one.row() for row, one in zip(there, taken, strict=False)):
        raise UserError(f"--out {store.folder} holds other images than these stores. Give a new folder.")
    for start in range(len(store), len(taken), TOGETHER):
        part = taken[start : start + TOGETHER]
        store.add_files([one.row() for one in part], [one.image() for one in part])
        if on_progress is not None:
            on_progress(len(store))


def _without_chain(row: Row) -> dict[str, object]:
    return {name: value for name, value in row.items() if name != CHAIN}


class _Plan:
    """What the new store is to hold, as far as the stores have been read."""

    def __init__(self, prefix: str) -> None:
        self.prefix, self.taken = prefix, dict[str, _Taken]()
        self.stores = self.twice = self.renamed = 0
        self._images: dict[str, tuple[_Taken, int]] = {}  # by sha256, with the number of the store
        self._names: dict[int, tuple[str, Path]] = {}
        self._labels: dict[str, tuple[int, Path]] = {}

    def take(self, folder: Path) -> None:
        """Take in a store."""
        self.stores += 1
        rows = Manifest(folder / MANIFEST).rows()
        for number, row in enumerate(rows):
            label, digest = self._class(row, folder), row.get("sha256")
            if not isinstance(digest, str):
                raise UserError(f"{folder}: the line of {row['key']} has no sha256. {_verify(folder)}")
            if self._is_there(digest, label, row["key"], folder):
                self.twice += 1
                continue
            key = self._free_key(row["key"], folder)
            self.renamed += key != row["key"]
            self.taken[key] = _Taken(key, label, folder, rows, number)
            self._images.setdefault(digest, (self.taken[key], self.stores))

    def _is_there(self, digest: str, label: int, key: str, folder: Path) -> bool:
        """Whether an earlier store holds an image; `UserError` if it is of another class there. Copies within one are kept."""
        before, store = self._images.get(digest, (None, 0))
        if before is not None and before.label != label:
            raise UserError(
                f"the stores contradict each other: {key} in {folder} is the same image as {before.key} of "
                f"{before.folder}, but of another class. Take one of them out first."
            )
        return before is not None and store < self.stores

    def _class(self, row: Row, folder: Path) -> int:
        """Return the label of a line; `UserError` if it contradicts the lines before."""
        label, name = row.get("label"), row.get("class_name")
        if not isinstance(label, int) or not isinstance(name, str):
            raise UserError(f"{folder}: the line of {row['key']} names no class. {_verify(folder)}")
        known, where = self._names.setdefault(label, (name, folder))
        number, there = self._labels.setdefault(name, (label, folder))
        if known != name:
            raise _contradiction(f"label {label} is {brief(known)} in {where} and {brief(name)} in {folder}")
        if number != label:
            raise _contradiction(f"{brief(name)} has the label {number} in {there} and {label} in {folder}")
        return label

    def _free_key(self, key: str, folder: Path) -> str:
        if key not in self.taken:
            return key
        if not self.prefix:
            raise UserError(
                f"{self.taken[key].folder} and {folder} hold different images with the key {key}. Give a --prefix: "
                "the later store's key gets it and the store's number in front."
            )
        new = f"{self.prefix}{self.stores}-{key}"
        try:
            parse_line(encode({"key": new, "file_name": f"images/{new}.png"}))
        except ValueError as error:
            raise UserError(
                f"--prefix makes the key {brief(new)}, which none can be. Allowed are letters, digits and ._+- "
                "after a letter or digit, 100 characters in all."
            ) from error
        if new in self.taken:
            raise UserError(f"--prefix makes the key {new}, which is taken, too. Give another one.")
        return new


def _contradiction(what: str) -> UserError:
    return UserError(
        f"the stores contradict each other: {what}. Only stores of the same classes, in the same order, go together."
    )


def _verify(folder: Path) -> str:
    return f"`actgen store verify {folder}` lists all that is wrong."
