"""sample -> store: PNG images and an append-only manifest that Hugging Face's imagefolder reads.

    FOLDER/images/KEY.png     the drawn image
    FOLDER/metadata.jsonl     one line an image, written after its image is complete

An image exists when its manifest line is complete; a torn last line (a crash while writing) is not a line. What is taken out
of a store (`Store.keep`) is moved beside it, to FOLDER/../set_aside; no image is ever deleted that is not in the store.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..checkpoint import write_bytes
from ..errors import UserError, refuse_file
from ..records import Sample, Snapshot
from .lines import parse_line

MANIFEST = "metadata.jsonl"


class Store:
    """A folder of generated images. The only writer of images and manifest lines."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._rows = list(read_manifest(self.folder / MANIFEST))
        self._by_key = {row["key"]: row for row in self._rows}

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, sample: Sample, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Write the image, then its line; an image that is already there with the same key is left as it is.

        A key that is there with other pixels is an error: the run's folder belongs to another configuration.
        """
        request = sample.request
        data = _png(sample.image)
        digest = hashlib.sha256(data).hexdigest()
        if (row := self._by_key.get(request.key)) is not None:
            if row["sha256"] != digest:
                raise UserError(f"{self.folder} already holds another image {request.key}. Choose a new folder.")
            return row
        name = f"images/{request.key}.png"
        row = {"key": request.key, "file_name": name, "sha256": digest, "label": request.label,
               "class_name": request.class_name, "prompt": request.prompt, "seed": request.seed,
               "strategy": request.strategy, "round": request.round, "guides": list(request.guides),
               "strength": request.strength,
               "source": None if request.source is None else vars(request.source), **facts}  # fmt: skip
        write_bytes(self.folder / name, data)
        row = self._append(row)
        if (aside := self._aside(row)).exists():  # drawn again, pixel by pixel
            aside.unlink()
            if not any(aside.parent.iterdir()):
                aside.parent.rmdir()
        return row

    def keep(self, count: int) -> None:
        """Forget all but the first `count` images; the files of the others move to ../set_aside.

        `UserError` if there are fewer.
        """
        if count > len(self._rows):
            raise UserError(f"{self.folder} holds {len(self._rows)} images, but {count} were drawn: images were lost. Put them "
                            "back, or remove the run's checkpoints folder to start it again.")  # fmt: skip
        late = self._rows[count:]
        if not late:
            return
        for row in late:  # copies first: a stop at any time loses nothing
            if (image := self.folder / row["file_name"]).exists():
                write_bytes(self._aside(row), image.read_bytes())
        self._rows = self._rows[:count]
        self._by_key = {row["key"]: row for row in self._rows}
        write_bytes(self.folder / MANIFEST, "".join(_line(row) for row in self._rows).encode())
        for row in late:
            (self.folder / row["file_name"]).unlink(missing_ok=True)

    def snapshot(self) -> Snapshot:
        """Return what is committed now; later additions do not change it."""
        return Snapshot(folder=str(self.folder), rows=tuple(self._rows))

    def _aside(self, row: Mapping[str, Any]) -> Path:
        return self.folder.parent / "set_aside" / f"{row['key']}-{row['sha256'][:16]}.png"

    def _append(self, row: dict[str, Any]) -> dict[str, Any]:
        path, line = self.folder / MANIFEST, _line(row)
        _drop_torn_line(path)
        with path.open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        row = json.loads(line)
        self._rows.append(row)
        self._by_key[row["key"]] = row
        return row


class Previews:
    """What people look at beside the drawn images: guide and attention mask of the first images of every round.

    Kept out of the store, so that the store holds training images only.
    """

    def __init__(self, folder: str | Path, per_round: int = 16) -> None:
        self.folder, self.per_round = Path(folder), per_round
        self._kept: dict[int, int] = {}

    def add(self, sample: Sample, guide: Image.Image) -> None:
        """Write KEY-guide.png and KEY-mask.png if the round's share is not used up."""
        request = sample.request
        if sample.mask is None or self._kept.get(request.round, 0) >= self.per_round:
            return
        self._kept[request.round] = self._kept.get(request.round, 0) + 1
        mask = Image.fromarray((sample.mask.numpy() * 255).round().astype(np.uint8))
        write_bytes(self.folder / f"{request.key}-guide.png", _png(guide))
        write_bytes(self.folder / f"{request.key}-mask.png", _png(mask.resize(sample.image.size, Image.Resampling.BILINEAR)))


def refuse_other_folder(out: Path) -> None:
    """Raise `UserError` if `out` cannot become a store: it is a file, or holds something else."""
    refuse_file(out)
    if out.is_dir() and not (out / MANIFEST).exists() and {path.name for path in out.iterdir()} - {"images"}:
        raise UserError(f"--out {out} is not empty and holds no store. Give a new or empty folder.")


def read_manifest(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the complete lines of a manifest; nothing if there is no manifest."""
    if not path.exists():
        return
    seen: set[str] = set()
    with path.open("rb") as file:  # bytes: a line may be torn within a letter
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                row = parse_line(line)
                if row["key"] in seen:
                    raise ValueError(f"{row['key']} is there twice")
            except ValueError as error:
                raise UserError(f"{path}, line {number}: {error}. Restore the line or remove it.") from error
            seen.add(row["key"])
            yield row


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"


def _drop_torn_line(path: Path) -> None:
    """Cut what follows the last newline: the rest of a line whose writing was interrupted."""
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open("rb+") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) == b"\n":
            return
        data = path.read_bytes()
        file.truncate(data.rfind(b"\n") + 1)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
