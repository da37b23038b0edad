"""A folder that appears when it is complete: what is being written lies in OUT.part until then."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

from ...core.errors import UserError, refuse_file
from ...core.files import make_folder, sync_folder
from ...core.lock import locked

_UNFINISHED = "unfinished"
_FEW = 1000  # files that are waited for one by one; a million of them would take hours


@contextmanager
def appearing(out: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `out` when the block ends; after an error nothing is left.

    What a killed process left in OUT.part is removed. `UserError` if `out` holds something, or another process writes it.
    """
    refuse_file(out)
    if out.is_dir() and any(out.iterdir()):
        raise UserError(f"--out {out} is not empty. Give a new or empty folder.")
    out = out.resolve()
    make_folder(out.parent)
    part = out.with_name(f"{out.name}.part")
    with locked(part):
        unfinished = part / _UNFINISHED
        if unfinished.exists():
            shutil.rmtree(unfinished)
        unfinished.mkdir()
        try:
            yield unfinished
            _have_on_disk(unfinished)
            unfinished.replace(out)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        sync_folder(out.parent)
    with suppress(OSError):  # it was there before, of a process that was killed
        part.rmdir()


def _have_on_disk(folder: Path) -> None:
    """Wait until the files in `folder` are on the disk: each of a few, or else all that the system has to write."""
    files = list(islice((path for path in folder.rglob("*") if path.is_file()), _FEW + 1))
    if len(files) > _FEW:
        os.sync()
        return
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    for path in {path.parent for path in files}:
        sync_folder(path)
