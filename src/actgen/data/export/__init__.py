"""store -> a data set that others read: class folders, shards of webdataset, parquet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from ...core.errors import UserError, refuse_unknown
from .appearing import appearing
from .columns import find_columns
from .contents import Classes, Row, Split
from .imagefolder import write_imagefolder
from .parquet import needs_datasets, write_parquet
from .webdataset import write_webdataset

IMAGEFOLDER, WEBDATASET, PARQUET = "imagefolder", "webdataset", "parquet"
FORMATS = (IMAGEFOLDER, WEBDATASET, PARQUET)

__all__ = ["FORMATS", "Split", "export"]


def export(
    splits: Sequence[Split],
    out: Path,
    form: str,
    *,
    class_names: Sequence[str] | None = None,
    link: bool = False,
    shard_bytes: int = 500 << 20,
    on_progress: Callable[[int], None] | None = None,
) -> tuple[str, ...]:
    """Write `splits` into the folder `out`, which appears when it is complete, and return the names of the classes.

    `form` is of `FORMATS`; `class_names` are all of them, where they are known; `link`: see `write_imagefolder`;
    `shard_bytes`: of a file, for the two others. `on_progress` hears how many images are done. `UserError` for an image or a
    line that is damaged, and for what cannot be written.
    """
    _refuse_options(form, link)
    classes = Classes(class_names)
    columns = find_columns(classes.heard(_rows(splits)))
    names = classes.names()
    if form != PARQUET:
        columns = columns.without_gaps()
    with appearing(out) as folder:
        done = 0
        for split in splits:
            entries = split.entries(columns, on_progress and _after(done, on_progress))
            if form == IMAGEFOLDER:
                write_imagefolder(folder, split.name, entries, names, link=link)
            elif form == WEBDATASET:
                write_webdataset(folder, split.name, entries, names, most=shard_bytes)
            else:
                write_parquet(folder, split.name, entries, names, columns=columns, most=shard_bytes)
            done += len(split)
    return names


def _after(done: int, on_progress: Callable[[int], None]) -> Callable[[int], None]:
    """Return what hears the count of a split when `done` images are in others."""
    return lambda count: on_progress(done + count)


def _rows(splits: Sequence[Split]) -> Iterator[Row]:
    return chain.from_iterable(split.rows() for split in splits)


def _refuse_options(form: str, link: bool) -> None:
    refuse_unknown("--format", form, FORMATS)
    if link and form != IMAGEFOLDER:
        raise UserError(f"--link goes with --format {IMAGEFOLDER} only: {form} packs the images into files.")
    if form == PARQUET:
        needs_datasets()
