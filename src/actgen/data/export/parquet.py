"""Parquet as Hugging Face lays it out: a column `image` of PNG bytes, `label` as ClassLabel, the manifest's columns.

OUT/data/train-00000-of-00003.parquet ...
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ...core.errors import UserError
from .columns import JSON, NUMBER, TEXT, TRUTH, WHOLE, Columns
from .contents import Entry
from .shards import sharded

_TYPES = {TEXT: "string", JSON: "string", WHOLE: "int64", NUMBER: "float64", TRUTH: "bool"}
_GROUP_IMAGES, _GROUP_BYTES = 256, 64 << 20  # of a row group, which is what is held in memory


def write_parquet(
    out: Path, split: str, entries: Iterable[Entry], class_names: Sequence[str], *, columns: Columns, most: int
) -> None:
    """Write a split into files of about `most` bytes; `UserError` without the package datasets."""
    schema = _schema(columns, class_names)
    folder = out / "data"
    folder.mkdir(exist_ok=True)
    parts = []
    for number, shard in sharded(entries, most):
        parts.append(folder / f"{split}-{number:05d}")
        _write(parts[-1], shard, schema)
    for part in parts:
        part.rename(f"{part}-of-{len(parts):05d}.parquet")


def needs_datasets() -> None:
    """Raise `UserError` without the package datasets."""
    try:
        import datasets  # noqa: F401
    except ImportError as error:
        raise UserError("--format parquet needs the package datasets: pip install 'actgen[datasets]'.") from error


def _schema(columns: Columns, class_names: Sequence[str]) -> Any:
    import datasets

    values = {name: datasets.Value(_TYPES[kind]) for name, kind in columns.kinds.items()}
    label = datasets.ClassLabel(names=list(class_names))
    return datasets.Features({"image": datasets.Image(), **values, "label": label}).arrow_schema


def _write(path: Path, entries: Iterable[Entry], schema: Any) -> None:
    import pyarrow
    from pyarrow import parquet

    with parquet.ParquetWriter(path, schema) as writer:
        for group in _groups(entries):
            rows = [{**entry.cells, "image": {"bytes": entry.png, "path": f"{entry.name}.png"}} for entry in group]
            writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))


def _groups(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    group: list[Entry] = []
    for entry in entries:
        group.append(entry)
        if len(group) == _GROUP_IMAGES or sum(len(one.png) for one in group) > _GROUP_BYTES:
            yield group
            group = []
    if group:
        yield group
