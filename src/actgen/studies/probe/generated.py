"""The generated images of a candidate, read back from its store as labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from PIL import Image

from ...core.rows import ManifestLine
from ...core.types import Request
from ...data.store.store import Store
from ...data.store.stored import read_stored


@dataclass(frozen=True)
class GeneratedSet:
    """Lines of a store as labelled images; the labels are those that were asked for."""

    folder: Path
    rows: Sequence[ManifestLine]
    class_names: tuple[str, ...]

    @classmethod
    def of(cls, store: Store, requests: Sequence[Request], class_names: Sequence[str]) -> GeneratedSet:
        """Return what the store holds of `requests`, in their order."""
        rows = [row for request in requests if (row := store.manifest.row(request.key)) is not None]
        return cls(store.folder, rows, tuple(class_names))

    @cached_property
    def labels(self) -> tuple[int, ...]:
        """The labels asked for."""
        return tuple(int(row["label"]) for row in self.rows)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The keys in the manifest."""
        return tuple(str(row["key"]) for row in self.rows)

    def image(self, index: int) -> Image.Image:
        """Read image `index`."""
        return read_stored(self.folder, self.rows[index])
