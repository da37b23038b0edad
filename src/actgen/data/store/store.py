"""sample -> store: PNG images and an append-only manifest that Hugging Face's imagefolder reads.

    FOLDER/images/KEY.png     the generated image
    FOLDER/metadata.jsonl     one line an image, written after its image is complete (`manifest.py`)
    FOLDER_set_aside/         what was taken out of the store: images, and their lines beside them

An image exists when its manifest line is complete. Nothing that a line has ever named is deleted, only set aside. Every line
repeats all settings of its generating: about 1.5 KB, little beside its image, and so a line is enough to generate the image
again.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ...core.errors import UserError, refuse_file
from ...core.files import write_all, write_bytes
from ...core.lock import LOCK
from ...core.types import Request, Sample, Snapshot
from .manifest import Manifest, Row, encode

MANIFEST = "metadata.jsonl"


class Store:
    """A folder of generated images. The only writer of images and manifest lines.

    One process at a time adds to it; what another one has added meanwhile is noticed and refused.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.manifest = Manifest(self.folder / MANIFEST)

    def __len__(self) -> int:
        return len(self.manifest)

    def __contains__(self, key: str) -> bool:
        return key in self.manifest

    def add(self, sample: Sample, facts: Mapping[str, object]) -> Row:
        """Write the image, then its line; an image that is already there with the same key is left as it is.

        A key that is there with other pixels is an error: the run's folder belongs to another configuration.
        """
        (row,) = self.add_all([(sample, facts)])
        return row

    def add_all(self, samples: Sequence[tuple[Sample, Mapping[str, object]]]) -> list[Row]:
        """Write images, then their lines, as `add` does; together they wait for the disk less often."""
        files: dict[Path, bytes] = {}
        new: list[dict[str, object]] = []
        for sample, facts in samples:
            data = _png(sample.image)
            key, digest = sample.request.key, hashlib.sha256(data).hexdigest()
            if self._is_there(key, digest):
                continue
            row = _row(sample.request, digest, facts)
            encode(row)  # what cannot be written is found before there is an image
            files[self.folder / _file_name(key)] = data
            new.append(row)
        if new:
            write_all(files)
            for line in self.manifest.append(new):
                self._take_back(line)
        return [self.manifest[sample.request.key] for sample, _ in samples]

    def add_files(self, rows: Sequence[Mapping[str, object]], images: Sequence[bytes]) -> None:
        """Write images that are PNG files already, then their lines, which are chained anew."""
        write_all({self.folder / str(row["file_name"]): data for row, data in zip(rows, images, strict=True)})
        self.manifest.append(rows)

    def _is_there(self, key: str, digest: str) -> bool:
        there = self.manifest.row(key)
        if there is not None and there["sha256"] != digest:
            raise UserError(f"{self.folder} already holds another image {key}. Choose a new folder.")
        return there is not None

    def keep(self, count: int, chain: str = "") -> None:
        """Take out all but the first `count` images; their files and lines move to FOLDER_set_aside.

        `UserError` if there are fewer, or if the chain of the last one is not `chain`, where that is known.
        """
        if count > len(self):
            raise UserError(
                f"{self.folder} holds {len(self)} images, but {count} were generated: images were lost. Put them "
                "back, or remove the run's checkpoints folder to start it again."
            )
        if chain and self.manifest.chain_at(count) != chain:
            raise UserError(
                f"the lines of {self.folder / MANIFEST} are not those that this run wrote. `actgen store verify "
                f"{self.folder}` says where they differ. Put the file back, or start a new run with another "
                "--out."
            )
        late = list(self.manifest.rows()[count:])
        if not late:
            return
        for row in late:  # copies first: a stop at any time loses nothing
            aside = self._aside(row)
            if (image := self.folder / row["file_name"]).exists():
                write_bytes(aside, image.read_bytes())
            write_bytes(aside.with_suffix(".json"), encode(row))
        self.manifest.cut(count)
        for row in late:
            (self.folder / row["file_name"]).unlink(missing_ok=True)

    def snapshot(self, count: int | None = None) -> Snapshot:
        """Return what is committed now, or its first `count` images; later additions do not change it."""
        return Snapshot(folder=str(self.folder), rows=self.manifest.rows()[:count], labels=self.manifest.labels()[:count])

    def _aside(self, row: Row) -> Path:
        return set_aside(self.folder) / f"{row['key']}-{row['sha256'][:16]}.png"

    def _take_back(self, row: Row) -> None:
        """Remove what was set aside of an image that is in the store again, pixel by pixel."""
        aside = self._aside(row)
        for path in (aside, aside.with_suffix(".json")):
            path.unlink(missing_ok=True)
        if aside.parent.is_dir() and not any(aside.parent.iterdir()):
            aside.parent.rmdir()


class Previews:
    """What people look at beside the generated images: guide and attention mask of the first images of every round.

    Kept out of the store, so that the store holds training images only.
    """

    def __init__(self, folder: str | Path, per_round: int = 16) -> None:
        self.folder, self.per_round = Path(folder), per_round
        self._kept: dict[int, int] = {}

    def resume(self, number: int, done: Collection[str]) -> None:
        """Round `number` goes on: count what was kept of the images with the keys `done`."""
        self._kept[number] = sum((self.folder / f"{key}-mask.png").exists() for key in done)

    def add(self, sample: Sample, guide: Image.Image) -> None:
        """Write KEY-guide.png and KEY-mask.png if the round's share is not used up."""
        request = sample.request
        if sample.mask is None or self._kept.get(request.round, 0) >= self.per_round:
            return
        self._kept[request.round] = self._kept.get(request.round, 0) + 1
        mask = Image.fromarray((sample.mask.numpy() * 255).round().astype(np.uint8))
        write_bytes(self.folder / f"{request.key}-guide.png", _png(guide))
        write_bytes(self.folder / f"{request.key}-mask.png", _png(mask.resize(sample.image.size, Image.Resampling.BILINEAR)))


class NoPreviews(Previews):
    """Writes none."""

    def __init__(self) -> None:
        super().__init__("", per_round=0)

    def resume(self, number: int, done: Collection[str]) -> None:
        """There are none."""


def set_aside(folder: Path) -> Path:
    """Return where what is taken out of the store `folder` goes: beside it, since it must hold training images only."""
    return folder.with_name(f"{folder.name}_set_aside")


def refuse_no_store(folder: Path, given: str = "") -> None:
    """Raise `UserError` if `folder`, given as the option `given`, holds no manifest."""
    if not (folder / MANIFEST).is_file():
        inside = folder / "store"
        hint = f"Give {inside}." if (inside / MANIFEST).is_file() else "Give the folder store of a run, or what generate made."
        raise UserError(f"{given} {folder} holds no {MANIFEST}, so it is no store. {hint}".lstrip())


def refuse_other_folder(out: Path) -> None:
    """Raise `UserError` if `out` cannot become a store: it is a file, or holds something else."""
    refuse_file(out)
    if out.is_dir() and not (out / MANIFEST).exists() and {path.name for path in out.iterdir()} - {"images", LOCK}:
        raise UserError(f"--out {out} is not empty and holds no store. Give a new or empty folder.")


def _row(request: Request, digest: str, facts: Mapping[str, object]) -> dict[str, object]:
    return {
        "key": request.key,
        "file_name": _file_name(request.key),
        "sha256": digest,
        "label": request.label,
        "class_name": request.class_name,
        "prompt": request.prompt,
        "seed": request.seed,
        "strategy": request.strategy,
        "round": request.round,
        "guides": list(request.guides),
        "strength": request.strength,
        "source": None if request.source is None else vars(request.source),
        **facts,
    }


def _file_name(key: str) -> str:
    return f"images/{key}.png"


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
