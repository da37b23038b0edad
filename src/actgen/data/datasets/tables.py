"""A table that says the class of every file: CSV, TSV, or the imagefolder's metadata.jsonl and metadata.csv."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import UserError
from ...core.text import brief, visible
from .names import printable
from .reading import Reading

SUFFIXES = (".csv", ".tsv", ".jsonl")
_FILES = (
    "file_name",
    "filename",
    "file",
    "filepath",
    "file_path",
    "path",
    "image",
    "image_name",
    "image_path",
    "image_id",
    "imagename",
    "imageid",
    "img",
    "img_name",
    "img_path",
    "img_id",
    "id",
    "name",
    "photo",
    "picture",
)
_LABELS = (
    "label",
    "labels",
    "class",
    "class_name",
    "classname",
    "category",
    "species",
    "target",
    "breed",
    "diagnosis",
    "y",
    "type",
    "class_id",
)
_SPLITS = ("split", "subset", "partition", "set", "data_set", "dataset", "usage")
_LARGEST = 2**28
Row = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of a table that names files and classes, and its columns for these; `split` is "" where it has none."""

    path: Path
    rows: tuple[Row, ...]
    file: str
    label: str
    split: str


def read_table(path: Path, reading: Reading) -> Table | str:
    """Return a table with its columns, or why it is none that says classes of files. `UserError` for one that is damaged, or
    where a column could be two.
    """
    rows = _rows(path)
    if isinstance(rows, str):
        return rows
    columns = list(rows[0]) if rows else []
    file = _column(path, rows, columns, _FILES, reading.file_column, "file_column")
    label = _column(path, rows, [name for name in columns if name != file], _LABELS, reading.label_column, "label_column")
    if file is None or label is None:
        return f"a table without a column for {'files' if file is None else 'classes'}"
    split = next((name for name in columns if name.lower() in _SPLITS and name not in (file, label)), "")
    return Table(path=path, rows=tuple(rows), file=file, label=label, split=split)


def _rows(path: Path) -> list[Row] | str:
    if path.stat().st_size > _LARGEST:
        return "a table of more than 256 MiB"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        return "a table that is not UTF-8"
    return _json_rows(text) if path.suffix.lower() == ".jsonl" else _csv_rows(text)


def _json_rows(text: str) -> list[Row] | str:
    try:
        rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError):
        return "lines that are not JSON"
    if not all(isinstance(row, dict) for row in rows):
        return "lines that are no JSON objects"
    return [{str(key): str(value) for key, value in row.items() if isinstance(value, str | int)} for row in rows]


def _csv_rows(text: str) -> list[Row] | str:
    first = text.partition("\n")[0]
    delimiter = max(",;\t|", key=first.count)
    try:
        reader = csv.DictReader(text.replace("\0", "").splitlines(), delimiter=delimiter, skipinitialspace=True)
        return [{key.strip(): str(value or "").strip() for key, value in row.items() if key is not None} for row in reader]
    except csv.Error as error:
        return f"a table that cannot be read ({visible(str(error))})"


def _column(
    path: Path, rows: Sequence[Row], columns: Sequence[str], known: Sequence[str], wanted: str, setting: str
) -> str | None:
    if wanted:
        if wanted not in columns:
            raise UserError(
                f"reading.{setting} = {brief(wanted)}: {printable(path)} has the columns {brief(', '.join(columns))}. "
                "Give one of them."
            )
        return wanted
    found = [name for name in columns if name.lower().replace(" ", "_") in known]
    if len(found) > 1 and setting == "label_column" and not _same_classes(rows, found):
        raise UserError(
            f"{printable(path)} could hold the classes in {' or '.join(map(visible, found[:4]))}. "
            f"Say which: --set reading.label_column={visible(found[0])}."
        )
    words = [name for name in found if setting == "label_column" and not all(row.get(name, "").isdigit() for row in rows)]
    return min(words or found, key=lambda name: known.index(name.lower().replace(" ", "_"))) if found else None


def _same_classes(rows: Sequence[Row], columns: Sequence[str]) -> bool:
    """Whether all columns part the rows in the same way: a class's number and its name."""
    together = {tuple(row.get(name, "") for name in columns) for row in rows}
    return all(len({row.get(name, "") for row in rows}) == len(together) for name in columns)


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """What a table says of the pictures that are there: class and value of the split column; rows whose file is not there."""

    classes: Mapping[Path, str]
    splits: Mapping[Path, str]
    missing: tuple[str, ...]


def resolve(table: Table, pictures: Sequence[Path]) -> Labelled:
    """Find the files of a table among the pictures: by their path beside the table, by their name, by their name without
    its suffix. `UserError` for a file with two classes, and for a name that two files have.
    """
    by_path, by_name = dict[str, list[Path]](), dict[str, list[Path]]()
    for path in pictures:
        relative = path.relative_to(table.path.parent) if path.is_relative_to(table.path.parent) else path
        by_path[relative.as_posix()] = [path]
        for key in {path.name, path.stem}:
            by_name.setdefault(key, []).append(path)
    classes, splits, missing = dict[Path, str](), dict[Path, str](), list[str]()
    for row in table.rows:
        name, label = row.get(table.file, ""), row.get(table.label, "")
        posix = name.replace("\\", "/").removeprefix("./")
        found = by_path.get(posix) or by_name.get(Path(posix).name, [])
        if len(found) > 1:
            raise UserError(
                f"{printable(table.path)} names {visible(name)}, which is both {printable(found[0])} and "
                f"{printable(found[1])}. Give paths from the table's folder."
            )
        if not found or not label:
            missing.append(name)
            continue
        if classes.setdefault(found[0], label) != label:
            raise UserError(
                f"{printable(table.path)} says {brief(classes[found[0]])} and {brief(label)} of {visible(name)}. "
                "A picture has one class: leave one line."
            )
        splits[found[0]] = row.get(table.split, "") if table.split else ""
    return Labelled(classes=classes, splits=splits, missing=tuple(missing))
