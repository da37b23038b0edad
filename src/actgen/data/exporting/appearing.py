"""A folder that appears when it is complete: what is being written lies in OUT.part until then."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ...checkpoint import make_folder, sync_folder
from ...errors import UserError, refuse_file
from ...lock import locked

_UNFINISHED = "unfinished"


@contextmanager
def appearing(out: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `out` when the block ends; after an error nothing is left.

    What a killed process left in OUT.part is removed. `UserError` if `out` holds something, or another process writes it.
    """
    refuse_file(out)
    if out.is_dir() and any(out.iterdir()):
        raise UserError(f"--out {out} is not empty. Give a new or empty folder.")
    make_folder(out.absolute().parent)
    part = out.with_name(f"{out.name}.part")
    with locked(part):
        unfinished = part / _UNFINISHED
        if unfinished.exists():
            shutil.rmtree(unfinished)
        unfinished.mkdir()
        try:
            yield unfinished
            os.sync()  # once for all files: a call for each of a million would take hours
            unfinished.replace(out)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        sync_folder(out.absolute().parent)
    with suppress(OSError):  # it was there before, of a process that was killed
        part.rmdir()
