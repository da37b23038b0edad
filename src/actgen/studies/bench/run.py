"""A bench's folder: runs what is missing, collects what is there, and writes what follows from it.

OUT/runs/RECIPE/ARM/BUDGET/SEED/   a run, with result.json when it is finished
OUT/results.jsonl                  a line a run
OUT/failures.jsonl                 runs of the last call that failed, with what happened
OUT/table.md  bench.html  *.png    arms side by side
OUT/logs/                          what the processes printed
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch

from ...core import files
from ...core.errors import UserError, refuse_file
from ...core.lock import is_unused, locked
from ...experiment.compatibility import check_compatible
from ...experiment.config import Recipe, build_recipe, flat
from ...report.html import write_page
from .fairness import refuse_unfair
from .page import render, write_figures
from .plan import Job
from .pool import Event, run_jobs
from .rows import RESULT, RESULTS, Row, gather, read_rows, write_rows
from .table import make_table

FAILURES, PAGE = "failures.jsonl", "bench.html"


def run_all(jobs: Sequence[Job], out: Path, processes: int, on_event: Callable[[Event], None]) -> list[Event]:
    """Do what is missing of `jobs` in folder `out` and return what failed; finished runs are not done again."""
    refuse_other_bench(out, jobs)
    check_compatible_arms(out, jobs)
    with locked(out):
        files.make_folder(out / "runs")
        try:
            return _run_missing(unfinished(jobs, out), out, processes, on_event)
        except UserError:
            _leave_no_trace(out)
            raise


def _run_missing(missing: Sequence[Job], out: Path, processes: int, on_event: Callable[[Event], None]) -> list[Event]:
    failed: list[Event] = []
    rows = {_path(row): row for row in gather(out)}
    if rows:
        write_rows(out / RESULTS, rows.values())
    _write_failures(out, failed)
    with closing(run_jobs(missing, out, processes)) as events:
        for event in events:
            if event.row is not None:
                rows[_path(event.row)] = event.row
                write_rows(out / RESULTS, rows.values())
            elif event.kind == "failed":
                failed.append(event)
                _write_failures(out, failed)
            on_event(event)
    return failed


def unfinished(jobs: Sequence[Job], out: Path) -> list[Job]:
    """Return the jobs whose runs are not finished."""
    return [job for job in jobs if not (job.folder(out) / RESULT).exists()]


def write_comparison(out: Path, anew: bool = True) -> str:
    """Write what follows from results.jsonl beside it and return the table; `UserError` if it would not be fair.

    Unless `anew`, a page that is younger than the results is left as it is.
    """
    rows = read_rows(out / RESULTS)
    refuse_unfair(rows)
    table, page = make_table(rows), out / PAGE
    if anew or not page.exists() or page.stat().st_mtime_ns < (out / RESULTS).stat().st_mtime_ns:
        files.write_text(out / "table.md", table)
        write_figures(out, rows)
        write_page(page, render(rows))
    return table


def refuse_other_bench(out: Path, jobs: Sequence[Job]) -> None:
    """Raise `UserError` if `out` holds something else, or a run of these jobs with other settings."""
    refuse_file(out)
    if not (out / "runs").is_dir() and not is_unused(out):
        raise UserError(f"--out {out} is not empty and holds no bench. Give a new or empty folder.")
    for job in jobs:
        held = job.folder(out) / "recipe.toml"
        if held.exists() and (changed := list(_changed(build_recipe(held), job.recipe))):
            raise UserError(
                f"--out {out} holds the run {job} with other settings ({', '.join(changed[:5])}). Give another "
                "--out, or the same settings to continue."
            )


def check_compatible_arms(out: Path, jobs: Sequence[Job]) -> None:
    """Raise `UserError` that names every arm of which a missing run cannot be done, with the reason of the first."""
    gpus, reasons = min(1, torch.cuda.device_count()), dict[str, str]()  # a process of a bench has one GPU (`pool.py`)
    for job in unfinished(jobs, out):
        try:
            check_compatible(job.recipe, gpus)
        except UserError as error:
            reasons.setdefault(f"{job.name} {job.arm}", str(error))
    if reasons:
        raise UserError("nothing was run: " + " ".join(f"{arm} cannot be: {reason}" for arm, reason in reasons.items()))


def _changed(held: Recipe, wanted: Recipe) -> Iterator[str]:
    one, other = flat(held), flat(wanted)
    return (f"{key} is {one.get(key)!r}, now {other.get(key)!r}" for key in other if one.get(key) != other.get(key))


def _leave_no_trace(out: Path) -> None:
    """Leave no trace of a call that was refused before its first run began."""
    if not any((out / "runs").iterdir()):
        (out / "runs").rmdir()
        shutil.rmtree(out / "logs", ignore_errors=True)


def _path(row: Row) -> tuple[Any, ...]:
    return row["recipe"], row["arm"], row["budget"], row["seed"]


def _write_failures(out: Path, failed: Sequence[Event]) -> None:
    path = out / FAILURES
    if not failed:
        path.unlink(missing_ok=True)
        return
    rows = [
        {
            "recipe": event.job.name,
            "arm": event.job.arm,
            "budget": event.job.budget,
            "seed": event.job.seed,
            "error": event.error,
            "trace": event.trace,
        }
        for event in failed
    ]
    files.write_lines(path, rows)
