"""What is exported: the committed images of a store, and real images beside them, one after the other.

An image of the store is read once and must be what its line promises; its bytes are passed on as they are. Real images become
PNGs of the pixels that a training sees.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NotRequired, TypedDict, cast

from ...core.errors import UserError
from ...core.rows import ManifestLine, SourceColumns
from ...core.text import brief
from ...core.types import Snapshot
from ..datasets.imageset import ImageSet
from ..store.columns import current
from ..store.verify import Following
from .columns import Columns

OnProgress = Callable[[int], None]
_MOST_CLASSES = 1_000_000


class Row(TypedDict):
    """What is known of an image to export, by column; of a generated one all that its manifest line says."""

    key: str
    label: int
    class_name: str
    generated: bool
    source: NotRequired[SourceColumns | None]
    file_name: NotRequired[str]
    sha256: NotRequired[str]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An image to export: `name` is that of its file without the end, `png` its bytes, `cells` its values by column.

    `file` holds the same bytes, where a store has it.
    """

    name: str
    label: int
    class_name: str
    png: bytes
    cells: Mapping[str, object]
    file: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Split:
    """A part of an export, "train" for example: the images of a store (or none), then real ones (or none)."""

    name: str
    generated: Snapshot | None = None
    real: ImageSet | None = None

    def __len__(self) -> int:
        return (0 if self.generated is None else len(self.generated)) + (0 if self.real is None else len(self.real.labels))

    def rows(self) -> Iterator[Row]:
        """Yield what is known of each image, with `generated`: whether it was generated. `UserError` for a line that is
        damaged."""
        if self.generated is not None:
            yield from _generated_rows(self.generated)
        if self.real is not None:
            yield from _real_rows(self.real)

    def entries(self, columns: Columns, on_progress: OnProgress | None = None) -> Iterator[Entry]:
        """Yield the images; `on_progress` hears how many are done. `UserError` that names one which is not as its line
        promises."""
        for number, row in enumerate(self.rows(), start=1):
            yield self._entry(row, columns.cells(row))
            if on_progress is not None:
                on_progress(number)

    def _entry(self, row: Row, cells: Mapping[str, object]) -> Entry:
        label, class_name = row["label"], row["class_name"]
        if self.generated is not None and row["generated"]:
            file = Path(self.generated.folder) / row["file_name"]
            png = _checked(file, row, Path(self.generated.folder))
            return Entry(name=row["key"], label=label, class_name=class_name, png=png, cells=cells, file=file)
        source = row["source"]
        assert self.real is not None
        assert source is not None
        name, png = f"real-{source['index']:07d}", _png(self.real, source["index"])
        return Entry(name=name, label=label, class_name=class_name, png=png, cells=cells)


def _generated_rows(generated: Snapshot) -> Iterator[Row]:
    chain = Following()
    for number, row in enumerate(generated.rows, start=1):
        if flaw := _flaw(row) or chain.flaw(row):
            raise UserError(
                f"{generated.folder}, line {number} ({row['key']}): {flaw}. `actgen store verify {generated.folder}` lists "
                "all that is wrong."
            )
        yield cast(Row, {**current(row), "generated": True})


def _flaw(row: ManifestLine) -> str:
    missing = [name for name in ("label", "class_name", "sha256") if row.get(name) is None]
    return f"it has no {missing[0]}" if missing else ""


def _real_rows(real: ImageSet) -> Iterator[Row]:
    names = real.class_names
    for index, (key, label) in enumerate(zip(real.keys, real.labels, strict=True)):
        source: SourceColumns = {"split": key.partition("/")[0], "index": index, "key": key}
        yield {"key": key, "label": label, "class_name": names[label], "source": source, "generated": False}


def _checked(file: Path, row: Row, store: Path) -> bytes:
    """Return the bytes of an image as its line promises them; `UserError` that names it if they are not there."""
    if not file.is_file():
        what = "is missing"
    elif not file.resolve().is_relative_to(store.resolve()):
        what = "is a link that leads out of the store"
    elif hashlib.sha256(png := file.read_bytes()).hexdigest() != row["sha256"]:
        what = "was altered or cut: its sha256 is another"
    else:
        return png
    raise UserError(f"{file} {what}. `actgen store verify {store}` lists all that is wrong, with --repair it moves that aside.")


def _png(real: ImageSet, index: int) -> bytes:
    buffer = io.BytesIO()
    real.image(index).save(buffer, "PNG")
    return buffer.getvalue()


class Classes:
    """The class names by label, gathered from rows that pass by; `known` are all of them, where there are real images."""

    def __init__(self, known: Sequence[str] | None = None) -> None:
        self._known = known
        self._names: dict[int, str] = {} if known is None else dict(enumerate(known))

    def heard(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield `rows` as they are; `UserError` for one that calls a label otherwise than those before."""
        for row in rows:
            label, name = row["label"], row["class_name"]
            known = label < _MOST_CLASSES if self._known is None else label < len(self._known)
            if not known or self._names.setdefault(label, name) != name:
                called = f", which is {brief(self._names[label])}" if label in self._names else ", which there cannot be"
                raise UserError(
                    f"image {row['key']} is of class {brief(name)} and label {label}{called}. Export the images of "
                    "one training, and give --with-real the data that they were generated for."
                )
            yield row

    def names(self) -> tuple[str, ...]:
        """Return the names of all labels up to the last; one of which there is no image is called "(no image) LABEL"."""
        found = tuple(self._names.get(label, f"(no image) {label}") for label in range(max(self._names, default=-1) + 1))
        if twice := [name for name, count in Counter(found).items() if count > 1]:
            raise UserError(f"two labels are called {brief(twice[0])}. Export the images of one training.")
        return found
