"""A file that says that a folder was written by actgen, so that nothing in it is ever read as somebody's images."""

from __future__ import annotations

from pathlib import Path

from .files import write_text

MARKER = "actgen-output.txt"
_TEXT = "Written by actgen: a run, a bench or a probe. `--data` leaves this folder out while this file is here.\n"


def mark(folder: Path) -> None:
    """Put the marker into a folder that is written to."""
    if not (folder / MARKER).is_file():
        write_text(folder / MARKER, _TEXT)


def is_output(names: set[str]) -> bool:
    """Whether a folder with these names in it was written by actgen, by a version before the marker too."""
    return MARKER in names or ("recipe.toml" in names and bool(names & {"store", "stats.jsonl", "summary.json", "run.lock"}))
