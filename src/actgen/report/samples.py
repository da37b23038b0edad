"""The lines of a manifest, or of a rejection log, as a sequence that is read where it is asked for.

One pass over the file notes for each line where it begins and what pages choose by, some 40 bytes; 150,000 lines of 1.5 KB are
never in memory together.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np

from .values import Record, as_count, as_number, as_text, parse

Shown = Callable[[Record], "SampleRow"]
Kept = Callable[[str], bool]


@dataclass(frozen=True, kw_only=True)
class SampleRow:
    """A generated image; the paths are None where the file does not exist. Probabilities lie in [0, 1], margins in [-1, 1].

    `predicted`, `guide_predicted`: the classes that the classifier of that time took the image and its guide for, "" in stores
    of earlier versions. `margin`: probability of the class asked for less the largest of the others. `reason` says why it was
    rejected, "" for an image that is in the store.
    """

    key: str
    class_name: str
    strategy: str
    round: int | None
    guided: bool
    image: Path | None
    guide: Path | None
    mask: Path | None
    guide_probability: float | None
    guide_predicted: str
    probability: float | None
    predicted: str
    margin: float | None
    reason: str


@dataclass(frozen=True)
class Samples(Sequence[SampleRow]):
    """Rows of the file at `path`, made by `shown` when one is asked for.

    By position: `classes_N` (index into `names`), `rounds_N` (-2 where not known), `certainty_N` (see `certainty`; infinite
    where not known), `guided_N`, and `kept_N`: whether its picture, or its guide's, is there by `kept`. `unread`: lines that
    were no JSON objects.
    """

    path: Path
    shown: Shown
    names: list[str] = field(default_factory=list)
    offsets_N: array[int] = field(default_factory=lambda: array("q"))
    classes_N: array[int] = field(default_factory=lambda: array("l"))
    rounds_N: array[int] = field(default_factory=lambda: array("q"))
    certainty_N: array[float] = field(default_factory=lambda: array("d"))
    guided_N: bytearray = field(default_factory=bytearray)
    kept_N: bytearray = field(default_factory=bytearray)
    unread: int = 0

    def __len__(self) -> int:
        return len(self.offsets_N)

    @overload
    def __getitem__(self, place: int) -> SampleRow: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[SampleRow]: ...
    def __getitem__(self, place: int | slice) -> SampleRow | Sequence[SampleRow]:
        """Return a row, or some."""
        return self.read(range(len(self))[place]) if isinstance(place, slice) else self.read([range(len(self))[place]])[0]

    def __iter__(self) -> Iterator[SampleRow]:
        return (row for start in range(0, len(self), 1000) for row in self.read(range(len(self))[start : start + 1000]))

    def read(self, places: Sequence[int]) -> list[SampleRow]:
        """Return the rows at `places`, in that order; the file is opened once."""
        if not places:
            return []
        with self.path.open("rb") as file:
            rows = {}
            for place in sorted(set(places)):
                file.seek(self.offsets_N[place])
                rows[place] = self.shown(parse(file.readline().decode("utf-8", "replace")))
        return [rows[place] for place in places]

    def by_class(self) -> Counter[str]:
        """Return how many rows each class has."""
        return Counter({self.names[index]: many for index, many in Counter(self.classes_N).items()})

    @property
    def rounds(self) -> list[int]:
        """The rounds that there are, in order."""
        return sorted({number for number in self.rounds_N if number > _NO_ROUND})

    @cached_property
    def least_certain(self) -> dict[str, list[int]]:
        """The places of the rows of each class, least certain first; once all rows are noted."""
        found: dict[str, list[int]] = {name: [] for name in self.names}
        for place in np.lexsort((np.arange(len(self)), np.array(self.certainty_N))).tolist():
            found[self.names[self.classes_N[place]]].append(place)
        return found


_NO_ROUND = -2


def index(path: Path, shown: Shown, kept: Kept) -> Samples:
    """Return the rows of the file at `path`, none if there is no such file."""
    found, known, unread = Samples(path, shown), dict[str, int](), 0
    if path.is_file():
        with path.open("rb") as file:
            offset = 0
            for line in file:
                record = parse(line.decode("utf-8", "replace")) if line.strip() else None
                if record:
                    _note(found, known, record, offset, kept)
                unread += record is not None and not record
                offset += len(line)
    return replace(found, names=list(known), unread=unread)


def certainty(record: Record) -> float:
    """Return how sure the classifier was of the class asked for: the margin; of lines without one 2p - 1, its lower bound."""
    margin, probability = as_number(record.get("margin")), as_number(record.get("probability"))
    return margin if margin is not None else math.inf if probability is None else 2 * probability - 1


def class_of(record: Record) -> str:
    """Return the class that a line's image was asked for."""
    return as_text(record.get("class_name", record.get("label")))


def _note(found: Samples, known: dict[str, int], record: Record, offset: int, kept: Kept) -> None:
    number = as_count(record.get("round"))
    found.offsets_N.append(offset)
    found.classes_N.append(known.setdefault(class_of(record), len(known)))
    found.rounds_N.append(_NO_ROUND if number is None or abs(number) > 2**60 else number)
    found.certainty_N.append(certainty(record))
    found.guided_N.append(bool(record.get("guides")))
    found.kept_N.append(kept(as_text(record.get("key"))))
