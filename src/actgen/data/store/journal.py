"""What has been generated of the round under way, so that a stopped round goes on where it was.

    FOLDER/NNNNNN.pt    a whole number of batches: the keys that are done, the latents that the bank is owed, the refusals

The images themselves are in the store. Files are added every so many images and removed with the round. They name the plan
that they belong to; those of another one are of no use and removed.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...core import files
from ...core.errors import UserError
from ...core.types import Sample
from .rounds import Remembered


@dataclass(frozen=True, kw_only=True)
class JournalBatch:
    """One batch of generated images: those `kept`, the keys that filters have `rejected`, the requests that gave no picture."""

    kept: Sequence[Sample]
    rejected: Sequence[str] = ()
    failed: Sequence[dict[str, str]] = ()

    @property
    def keys(self) -> list[str]:
        """All of its requests."""
        return [sample.request.key for sample in self.kept] + [*self.rejected] + [one["key"] for one in self.failed]


@dataclass
class JournalState:
    """What has been generated: the requests that are `done` by key, in the order of generating, generated or refused.

    `remembered` is for the bank; `failed` are requests that gave no picture; `images` and `chain` say how far the store was.
    `facts`: what else the generated image has to know to go on.
    """

    done: list[str] = field(default_factory=list)
    remembered: list[Remembered] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)
    images: int = 0
    chain: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    def add(self, batch: JournalBatch) -> None:
        """Take in a batch."""
        self.done += batch.keys
        self.remembered += [Remembered.of(sample) for sample in batch.kept if sample.request.guides]
        self.failed += batch.failed


class Journal:
    """The folder of a round under way. `every`: at most that many images are not in it, and would be generated again."""

    def __init__(self, folder: str | Path, every: int) -> None:
        self.folder, self.every = Path(folder), every
        self._plan, self._pending, self._files = "", JournalState(), 0

    def open(self, plan: str) -> JournalState:
        """Return what has been generated of the plan with this digest, and go on from there."""
        generated, self._plan, self._pending, self._files = JournalState(), plan, JournalState(), 0
        for path in sorted(self.folder.glob("*.pt")):
            part = _read(path, plan) if path == self._path(self._files) else None
            if part is None:
                path.unlink()
            else:
                _extend(generated, part)
                self._files += 1
        return generated

    def add(self, batch: JournalBatch, *, images: int, chain: str, batch_size: int, together: int, **facts: Any) -> None:
        """Take in a batch, and write if another one, of `together` requests at most, would be too much to be generated
        again."""
        pending = self._pending
        pending.add(batch)
        pending.images, pending.chain, pending.facts = images, chain, {"batch_size": batch_size, **facts}
        if len(pending.done) + together > self.every:
            self.write()

    def write(self) -> None:
        """Have all that was taken in on the disk."""
        pending, self._pending = self._pending, JournalState()
        if not pending.done:
            return
        state = {**vars(pending), "remembered": [vars(one) for one in pending.remembered], "plan": self._plan}
        files.save(self._path(self._files), state)
        self._files += 1

    def clear(self) -> None:
        """The round is over, or nothing of it counts."""
        self._pending, self._files = JournalState(), 0
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.pt"


class NoJournal(Journal):
    """For rounds that are not to go on after a stop: writes nothing, knows nothing."""

    def __init__(self) -> None:
        super().__init__("", every=0)

    def open(self, plan: str) -> JournalState:
        """Return that nothing has been generated."""
        return JournalState()

    def add(self, batch: JournalBatch, *, images: int, chain: str, batch_size: int, together: int, **facts: object) -> None:
        """Let it pass."""

    def clear(self) -> None:
        """There is nothing."""


def _read(path: Path, plan: str) -> JournalState | None:
    """Return what is in a file; None if it is damaged or of another plan."""
    try:
        state = dict(files.load(path) or {})
        if state.pop("plan") != plan:
            return None
        return JournalState(**{**state, "remembered": [Remembered(**one) for one in state["remembered"]]})
    except (UserError, KeyError, TypeError):
        return None


def _extend(generated: JournalState, part: JournalState) -> None:
    generated.done += part.done
    generated.remembered += part.remembered
    generated.failed += part.failed
    generated.images, generated.chain, generated.facts = part.images, part.chain, part.facts
