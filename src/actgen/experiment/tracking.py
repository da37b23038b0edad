"""Trackers: what a run has written, passed on to tensorboard, wandb, mlflow or trackio through accelerate's trackers.

A tracker follows the run's folder: it is told of every epoch in `stats.jsonl` that it was not told of yet, in whatever process
that epoch was trained, with pictures of what its round drew, and of `summary.json` at the end. So a run is the same with and
without it, may be tracked from any point on, and goes on if the tracker fails.

    OUT/tracking.json    how far each tracker is
    OUT/tensorboard/     what tensorboard reads
"""

from __future__ import annotations

import importlib.util
import json
import logging
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState
from numpy.typing import NDArray

from ..core import files
from ..core.errors import UserError
from ..core.rows import EpochRow, RunSummary
from ..core.signals import deferred
from ..core.text import brief, first_line, read_text
from ..data.datasets.imageset import fit_square
from ..data.store.manifest import Manifest
from ..data.store.store import MANIFEST
from ..data.store.stored import read_stored

TRACKERS = ("tensorboard", "wandb", "mlflow", "trackio")
PROJECT, NOTES = "actgen", "tracking.json"
PICTURES, MOST_CLASSES = 16, 100  # pictures of a round; classes that are curves of their own
_NAMES = {
    "train_loss": "train/loss",
    "learning_rate": "train/learning_rate",
    "optimizer_steps": "train/optimizer_steps",
    "train_seconds": "train/seconds",
    "test_accuracy": "test/accuracy",
    "validation_accuracy": "validation/accuracy",
    "holdout_accuracy": "holdout/accuracy",
    "real_images": "images/real",
    "synthetic_images": "images/synthetic",
    "generated_so_far": "images/generated_so_far",
    "generation_seconds": "round/seconds",
    "waited_seconds": "round/waited_seconds",
    "staleness": "round/staleness",
}
_ODD = re.compile(r"[^A-Za-z0-9_./ -]")  # what mlflow takes in the name of a curve, the strictest of the four
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Note:
    """How far a tracker is: its `run`, whether it was told the recipe, of how many `epochs`, and whether of the summary."""

    run: str = ""
    configured: bool = False
    epochs: int = 0
    summarised: bool = False


def parse_trackers(texts: Sequence[str]) -> dict[str, str]:
    """Return the project by tracker of texts like "wandb" or "tensorboard,wandb:PROJECT".

    `UserError` for an unknown tracker and for one whose package is not installed.
    """
    found: dict[str, str] = {}
    for text in (part.strip() for one in texts for part in one.split(",") if part.strip()):
        name, _, project = text.partition(":")
        if name not in TRACKERS:
            raise UserError(f"--track {brief(text)} is unknown; allowed: {', '.join(TRACKERS)}, or NAME:PROJECT.")
        if not _is_installed(name):
            raise UserError(f"--track {name} needs the package {name}: pip install {name}.")
        found[name] = project or PROJECT
    return found


def _plain(value: object) -> object:
    """Return a value of a recipe as every tracker takes it: lists as text."""
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else value


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ValueError:  # it stands in sys.modules as missing
        return False


@contextmanager
def tracking(
    folder: Path, trackers: Mapping[str, str], recipe: Mapping[str, object]
) -> Iterator[Callable[[RunSummary | None], None]]:
    """Yield what has to be called after each epoch, and at the end with the summary; `recipe` are its values by dotted key.

    `UserError` for a tracker that cannot be started. One that fails later is left out with a warning: started again on the
    same folder, it is told the rest.
    """
    followers: list[_Follower] = []
    try:
        for name, project in trackers.items() if PartialState().is_main_process else ():
            follower = _Follower(name, project, folder)
            if not follower.note.summarised:
                follower.start(recipe)
                followers.append(follower)

        def tell(summary: RunSummary | None = None) -> None:
            for follower in list(followers):
                if not _survives(follower, partial(follower.catch_up, summary)):
                    followers.remove(follower)

        yield tell
    finally:
        for follower in followers:
            _survives(follower, follower.stop)


def _survives(follower: _Follower, call: Callable[[], None]) -> bool:
    try:
        call()
    except Exception as error:  # of a service or a disk: nothing that a training should end for
        _log.warning(
            "%s failed and is left out (%s: %s). The run goes on; the same command on the same folder tells it the rest.",
            follower.name,
            type(error).__name__,
            first_line(error),
        )
        return False
    return True


class _Follower:
    """One tracker at a run's folder."""

    def __init__(self, name: str, project: str, folder: Path) -> None:
        self.name, self.project, self.folder = name, project, folder
        self.note = _read_notes(folder).get(name, Note())
        self._manifest: Manifest | None = None

    def start(self, recipe: Mapping[str, object]) -> None:
        """Open the tracker and tell it the recipe, if it was not told."""
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        if not self.note.run and self.name != "mlflow":  # which names its runs itself
            self._write(run=secrets.token_hex(4))
        project = "tensorboard" if self.name == "tensorboard" else self.project
        try:
            self._tracker: Any = LOGGER_TYPE_TO_CLASS[self.name](project, **self._options())
            self._tracker.start()
            if self.name == "mlflow":
                self._write(run=self._tracker.tracker.info.run_id)
            if not self.note.configured:
                self._tracker.store_init_configuration({_clean(key): _plain(value) for key, value in recipe.items()})
                self._write(configured=True)
        except Exception as error:  # no account, no network, no disk: each package has its own
            raise UserError(
                f"--track {self.name} cannot be started ({type(error).__name__}: {first_line(error)}). Set it up, "
                "or leave it out: the run is the same."
            ) from error

    def _options(self) -> dict[str, object]:
        run, name = self.note.run, self.folder.resolve().name
        match self.name:
            case "tensorboard":  # what was written after the note, before a kill, is written again and shown once
                return {"logging_dir": str(self.folder), "purge_step": self.note.epochs or None}
            case "wandb":
                return {"name": name, "id": run, "resume": "allow", "dir": str(self.folder)}
            case "trackio":
                return {"name": f"{name}-{run}", "resume": "allow"}
        return {"run_name": name, "run_id": run or None}

    def catch_up(self, summary: RunSummary | None) -> None:
        """Tell of the epochs and the summary that it was not told of."""
        for row in _read_stats(self.folder)[self.note.epochs :]:
            with deferred():  # a signal in between would have it told twice
                self._tracker.log(epoch_values(row), step=row["epoch"])
                self._show(row)
                self._write(epochs=row["epoch"] + 1)
        if summary is not None and not self.note.summarised:
            with deferred():
                self._tracker.log(summary_values(summary), step=self.note.epochs)
                self._write(summarised=True)

    def stop(self) -> None:
        """Close the tracker."""
        self._tracker.finish()

    def _show(self, row: EpochRow) -> None:
        """Show some pictures of an epoch's round, if the tracker can."""
        if not hasattr(self._tracker, "log_images"):
            return
        generated = self._pictures(row)
        if generated is not None:
            layout = {"dataformats": "NHWC"} if self.name == "tensorboard" else {}
            self._tracker.log_images({"round/generated": generated}, step=row["epoch"], **layout)

    def _pictures(self, row: EpochRow) -> NDArray[np.uint8] | None:
        """Return uint8 [N, S, S, 3] of at most `PICTURES` images of a round, evenly over it; None if there are none."""
        filters, last = row.get("filters"), row.get("generated_so_far", 0)
        if not filters or not (kept := filters.get("kept", 0)):
            return None
        self._manifest = self._manifest or Manifest(self.folder / "store" / MANIFEST)
        self._manifest.refresh()
        rows = self._manifest.rows()[last - kept : last]
        chosen = [rows[place * len(rows) // PICTURES] for place in range(PICTURES)] if len(rows) > PICTURES else list(rows)
        store = self.folder / "store"
        found = [read_stored(store, one) for one in chosen if (store / one["file_name"]).is_file()]
        return np.stack([np.asarray(fit_square(image, min(found[0].size))) for image in found]) if found else None

    def _write(self, **changes: Any) -> None:
        self.note = replace(self.note, **changes)
        notes = {name: asdict(note) for name, note in {**_read_notes(self.folder), self.name: self.note}.items()}
        files.write_text(self.folder / NOTES, json.dumps(notes, indent=1) + "\n")


def epoch_values(row: EpochRow) -> dict[str, float]:
    """Return the curves of a line of `stats.jsonl`; accuracies in percent, rates in [0, 1], times in seconds."""
    columns: Mapping[str, object] = row
    values = {name: value for key, name in _NAMES.items() if isinstance(value := columns.get(key), (int, float))}
    on = "test" if row.get("validation_accuracy") is None else "validation"
    classes = row.get("per_class") or {}
    if len(classes) <= MOST_CLASSES:
        values |= {f"{on}/class/{name}": value for name, value in _told_apart(classes).items()}
    filters = row.get("filters")  # of earlier versions there may be none
    if filters and (generated := filters.get("generated")):
        kept = filters["kept"]
        values |= {"round/generated": generated, "round/kept": kept, "round/keep_rate": round(kept / generated, 4)}
        values |= {f"round/rejected/{_clean(name)}": count for name, count in filters["rejected"].items()}
    return values


def summary_values(summary: RunSummary) -> dict[str, float]:
    """Return the numbers of `summary.json`."""
    values = {key: value for key, value in summary.items() if isinstance(value, (int, float)) and not isinstance(value, bool)}
    if (filters := summary.get("filters")) and (rate := filters.get("keep_rate")) is not None:
        values["keep_rate"] = rate
    return {f"summary/{key}": value for key, value in values.items()}


def _told_apart(values: Mapping[str, float]) -> dict[str, float]:
    """Return values by clean names; a name that had to be altered gets its number, so that no two are one."""
    return {
        name if (clean := _clean(name)) == name else f"{clean} {number}": value
        for number, (name, value) in enumerate(values.items())
    }


def _clean(name: str) -> str:
    return _ODD.sub("_", name)


def _read_stats(folder: Path) -> list[EpochRow]:
    path = folder / "stats.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def _read_notes(folder: Path) -> dict[str, Note]:
    path = folder / NOTES
    if not path.exists():
        return {}
    try:
        return {str(name): Note(**note) for name, note in json.loads(read_text(path)).items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} is damaged. Remove it: the trackers are then told everything once more.") from error
