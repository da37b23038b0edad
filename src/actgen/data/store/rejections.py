"""The rejection log: what was generated and not kept, each with its reason.

    RUN/rejected.jsonl                     a line an image: its request, the filter, the reason, the score
    RUN/set_aside/rejected/KEY.png        the picture, if it is to be kept

`after` is the number of images that were in the store when the line was written, so that log and manifest together tell the
order of generation. Lines are only added; going back to a checkpoint cuts off those after it, since they will be written again.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import cast

from ...core.errors import UserError
from ...core.files import write_bytes
from ...core.rows import ManifestLine, RejectionLine
from ...core.types import Sample
from .columns import current, existing
from .lines import parse_line

REJECTIONS = "rejected.jsonl"


class RejectionLog:
    """The rejections of the run in `folder`; the only writer of their file. `pictures`: keep the rejected images too."""

    is_written = True

    def __init__(self, folder: str | Path, *, pictures: bool = False) -> None:
        self.folder, self.pictures = Path(folder), pictures
        self.path = self.folder / REJECTIONS
        self.rows: list[RejectionLine] = list(read_rejections(self.folder))
        self._keys = {row["key"] for row in self.rows}
        self._torn = self.path.exists() and not self.path.read_bytes().endswith(b"\n")

    def __len__(self) -> int:
        return len(self.rows)

    def reopened(self) -> RejectionLog:
        """Return the log as it is in its file now, after another process has written to it."""
        return RejectionLog(self.folder, pictures=self.pictures)

    def add(self, sample: Sample, facts: Mapping[str, object]) -> None:
        """Write a rejection, its image first if it is kept; one that is there is left as it is."""
        request = sample.request
        if request.key in self._keys:
            return
        row = {
            **vars(request),
            "guides": list(request.guides),
            "source": None if request.source is None else vars(request.source),
            **facts,
        }
        if self.pictures:
            buffer = io.BytesIO()
            sample.image.save(buffer, "PNG")
            write_bytes(picture_path(self.folder, request.key), buffer.getvalue())
        line = _line(row)
        if self._torn:
            self._rewrite()
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self.rows.append(json.loads(line))
        self._keys.add(request.key)

    def keep(self, count: int) -> None:
        """Forget all but the first `count` rejections, and their images; `UserError` if there are fewer."""
        if count > len(self.rows):
            raise UserError(
                f"{self.path} holds {len(self.rows)} rejections, but {count} were written: lines were lost. Put them "
                "back, or remove the run's checkpoints folder to start it again."
            )
        late, self.rows = self.rows[count:], self.rows[:count]
        self._keys = {row["key"] for row in self.rows}
        for row in late:
            picture_path(self.folder, row["key"]).unlink(missing_ok=True)
        if late or self._torn:
            self._rewrite()

    def _rewrite(self) -> None:
        """Write the rows as the whole file; no file if there are none."""
        if self.rows:
            write_bytes(self.path, "".join(_line(row) for row in self.rows).encode())
        else:
            self.path.unlink(missing_ok=True)
        self._torn = False


class NoRejectionLog(RejectionLog):
    """Writes no refusals down: for processes that do not judge, and for rounds whose refusals nobody reads."""

    is_written = False

    def __init__(self) -> None:
        self.folder, self.pictures, self.rows = Path(), False, []

    def add(self, sample: Sample, facts: Mapping[str, object]) -> None:
        """Let it pass."""

    def keep(self, count: int) -> None:
        """There are none."""

    def reopened(self) -> RejectionLog:
        """Return this one."""
        return self


def read_rejections(folder: Path) -> Iterator[RejectionLine]:
    """Yield the complete lines of the rejection log of the run in `folder`; nothing if there is none."""
    path = existing(folder, REJECTIONS)
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []  # what follows the last newline is no line
    for number, line in enumerate(lines, start=1):
        try:
            yield cast(RejectionLine, current(parse_line(line, ("key", "after"))))
        except ValueError as error:
            raise UserError(f"{path}, line {number}: {error}. Restore the line or remove it.") from error


def in_order(stored: Iterable[ManifestLine], rejected: Iterable[RejectionLine]) -> Iterator[ManifestLine | RejectionLine]:
    """Yield the lines of a manifest and of its rejection log in the order in which their images were generated."""
    waiting = list(rejected)[::-1]
    for number, row in enumerate(stored):
        while waiting and waiting[-1]["after"] <= number:
            yield waiting.pop()
        yield row
    yield from waiting[::-1]


def picture_path(folder: Path, key: str) -> Path:
    """Return where the image of a rejection is, if it was kept."""
    return existing(folder, "set_aside/rejected") / f"{key}.png"


def _line(row: Mapping[str, object]) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"
