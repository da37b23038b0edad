"""A manifest: JSON lines, appended to and read where needed; a million lines open in seconds.

Opening reads the file once and keeps where each line begins, its key and its label. Lines as the store writes them (key,
file_name, sha256 and label first, in this order) are not parsed for that; others are. A row is parsed when it is asked for.
"""

from __future__ import annotations

import json
import os
import re
from array import array
from collections.abc import Iterator, KeysView, Mapping, Sequence
from contextlib import suppress
from io import IOBase, RawIOBase
from pathlib import Path
from typing import BinaryIO, cast, overload

from ...core.errors import UserError
from ...core.files import make_folder, sync_folder
from ...core.rows import ManifestLine
from .chain import CHAIN, START, link
from .lines import parse_line

Row = ManifestLine
UNLABELLED = -1
_NAME = rb"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}"
_HEAD = re.compile(
    rb'\{"key": "('
    + _NAME
    + rb')", "file_name": "images/'
    + _NAME
    + rb'\.png", "sha256": "[0-9a-f]{64}", "label": (\d{1,9}),.*\}\n',
    re.DOTALL,
)


class Rows(Sequence[Row]):
    """Lines of a manifest as they were when this was made, read one by one from the file; later additions do not show.

    `bounds` are the bytes where the lines begin, and where the last one ends; `first` is the number of the first line.
    """

    def __init__(self, path: Path, bounds: array[int], first: int = 0) -> None:
        self._path, self._bounds, self._first = path, bounds, first

    def __len__(self) -> int:
        return len(self._bounds) - 1

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        numbers = range(len(self))[index]
        if isinstance(numbers, int):
            with self._path.open("rb", buffering=0) as file:
                return self._read(file, numbers)
        if numbers.step == 1 and numbers:
            return Rows(self._path, self._bounds[numbers.start : numbers.stop + 1], self._first + numbers.start)
        return tuple(self[number] for number in numbers)

    def __iter__(self) -> Iterator[Row]:
        if len(self):
            with self._path.open("rb") as file:
                for number in range(len(self)):
                    yield self._read(file, number)

    def _read(self, file: BinaryIO, number: int) -> Row:
        begin, end = self._bounds[number], self._bounds[number + 1]
        file.seek(begin)
        return parse(file.read(end - begin), self._path, self._first + number)


class Manifest:
    """The lines of `path`, of which there may be none yet. A torn last line (a crash while writing) is not a line.

    `UserError` that names the line if one cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._chain: str | None = None  # read when first needed
        self._read()

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def __contains__(self, key: str) -> bool:
        return key in self._numbers

    def keys(self) -> KeysView[str]:
        """Return the keys of all images, in the order of the lines."""
        return self._numbers.keys()

    def __getitem__(self, key: str) -> Row:
        return self._at(self._numbers[key])

    def row(self, key: str) -> Row | None:
        """Return the line of an image, None if there is none."""
        number = self._numbers.get(key)
        return None if number is None else self._at(number)

    def rows(self) -> Rows:
        """Return the lines that are there now."""
        return Rows(self.path, self._bounds[:])

    def labels(self) -> Sequence[int]:
        """Return the labels of the lines that are there now, without reading them; -1 where a line has none."""
        return self._labels[:]

    @property
    def chain(self) -> str:
        """The chain of the last line: it stands for the whole manifest. Empty for lines of versions that wrote none."""
        if self._chain is None:
            self._chain = self.chain_at(len(self))
        return self._chain

    def chain_at(self, count: int) -> str:
        """Return the chain of line number `count`, from 1."""
        return str(self._at(count - 1).get(CHAIN, START)) if count else START

    def append(self, facts: Sequence[Mapping[str, object]]) -> list[Row]:
        """Write lines, with their chains, and have them on the disk; return them as they can be read."""
        chain, lines, rows = self.chain, list[bytes](), list[Row]()
        for one in facts:
            chain = link(chain, one)
            lines.append(encode({**one, CHAIN: chain}))
            rows.append(parse(lines[-1], self.path, len(self) + len(rows)))
        make_folder(self.path.parent)
        with open(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644), "r+b", buffering=0) as file:
            self._refuse_changed(file)
            self._write(file, b"".join(lines))
        if not len(self):
            sync_folder(self.path.parent)
        for row, line in zip(rows, lines, strict=True):
            self._enter(row["key"], _label(row), len(line))
        self._chain = chain
        return rows

    def cut(self, count: int) -> None:
        """Take out all lines but the first `count`."""
        with self.path.open("r+b") as file:
            self._refuse_changed(file)
            file.truncate(self._bounds[count])
            os.fsync(file.fileno())
        self._read()

    def refresh(self) -> None:
        """Read the file again if another process has changed it."""
        if self._size != _size(self.path):
            self._read()

    def _read(self) -> None:
        self._bounds, self._labels, self._numbers = array("q", [0]), array("q"), dict[str, int]()
        self._chain = None
        self._size = _size(self.path)  # with what is torn
        if not self._size:
            return
        with self.path.open("rb", buffering=1 << 20) as file:  # bytes: a line may be torn within a letter
            for line in file:
                if not line.endswith(b"\n"):
                    return
                if (head := _HEAD.fullmatch(line)) is not None:
                    key, label = head[1].decode(), int(head[2])
                else:
                    row = parse(line, self.path, len(self))
                    key, label = row["key"], _label(row)
                if key in self._numbers:
                    raise _refusal(self.path, len(self), f"{key} is there twice. Restore the line or remove it.")
                self._enter(key, label, len(line))

    def _at(self, number: int) -> Row:
        return Rows(self.path, self._bounds)[number]  # shares the bounds: a copy would cost what there are lines

    def _enter(self, key: str, label: int, length: int) -> None:
        self._numbers[key] = len(self)
        self._labels.append(label)
        self._bounds.append(self._bounds[-1] + length)

    def _write(self, file: RawIOBase, data: bytes) -> None:
        """Write after the last whole line; on failure (a full disk) the file holds whole lines only."""
        end = self._bounds[-1]
        file.truncate(end)
        file.seek(end)
        try:
            while data:
                data = data[file.write(data) or 0 :]
            os.fsync(file.fileno())
        except BaseException:
            with suppress(OSError):
                file.truncate(end)
            raise
        finally:
            self._size = os.fstat(file.fileno()).st_size

    def _refuse_changed(self, file: IOBase) -> None:
        if os.fstat(file.fileno()).st_size != self._size:
            raise UserError(
                f"{self.path} was changed by another process. Let one process at a time write to it; running this "
                "command again continues."
            )


def encode(row: Mapping[str, object]) -> bytes:
    """Return a line; `ValueError` for numbers that JSON has not."""
    return (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n").encode()


def parse(line: bytes, path: Path, number: int) -> Row:
    """Return the row of line `number` (from 0); `UserError` if it is not one."""
    try:
        return cast(ManifestLine, parse_line(line))
    except ValueError as error:
        raise _refusal(path, number, f"{error}. Restore the line or remove it.") from error


def _label(row: Mapping[str, object]) -> int:
    label = row.get("label")
    return label if type(label) is int and 0 <= label < 10**9 else UNLABELLED


def _refusal(path: Path, number: int, reason: str) -> UserError:
    return UserError(f"{path}, line {number + 1}: {reason} `actgen store verify {path.parent}` lists all that is wrong.")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
