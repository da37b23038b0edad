"""A bench's folder: runs what is missing, collects what is there, and writes what follows from it.

OUT/runs/RECIPE/ARM/BUDGET/SEED/   a run, with result.json when it is finished; of a label set: .../set-0-seed-0/
OUT/results.jsonl                  a line a run
OUT/failures.jsonl                 runs of the last call that failed, with what happened
OUT/table.md  bench.html  *.png    arms side by side
OUT/protocol.toml                  what was declared before, if it was; then also final-table.md and final-looks.jsonl
OUT/logs/                          what the processes printed
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import torch

from ...core import files
from ...core.errors import UserError, refuse_file
from ...core.lock import is_unused, locked
from ...core.marker import MARKER, mark
from ...core.provenance import source_commit
from ...experiment.compatibility import check_compatible
from ...experiment.config import flat, read_recipe_of
from ...report.html import write_page
from .fairness import refuse_unfair
from .page import render, write_figures
from .plan import Job
from .pool import Event, run_jobs
from .protocol import PROTOCOL, Protocol, read_protocol
from .rows import RESULT, RESULTS, Row, gather, read_rows, unit, write_rows
from .table import make_table

FAILURES, PAGE = "failures.jsonl", "bench.html"
FINAL_TABLE, FINAL_LOOKS = "final-table.md", "final-looks.jsonl"


def run_all(
    jobs: Sequence[Job], out: Path, processes: int, on_event: Callable[[Event], None], protocol: Protocol | None = None
) -> list[Event]:
    """Do what is missing of `jobs` in folder `out` and return what failed; finished runs are not done again.

    A copy of the `protocol` that declares them is laid beside the results.
    """
    refuse_other_bench(out, jobs)
    refuse_other_protocol(out, protocol)
    check_compatible_arms(out, jobs)
    with locked(out):
        files.make_folder(out / "runs")
        mark(out)
        adopt_rows(out, jobs)
        if protocol is not None and not (out / PROTOCOL).exists():
            files.write_text(out / PROTOCOL, protocol.text)
        try:
            return _run_missing(unfinished(jobs, out), out, processes, on_event)
        except UserError:
            _leave_no_trace(out)
            raise


def adopt_rows(out: Path, jobs: Sequence[Job]) -> None:
    """Take the runs of results.jsonl as done: it is enough to carry this file (and the protocol) to another machine.

    `UserError` if a row was measured with other settings than the job of its name; settings that only one of the two versions
    of the program has are not compared.
    """
    if not (out / RESULTS).is_file():
        return
    rows = {_path(row): row for row in read_rows(out / RESULTS)}
    for job in jobs:
        row = rows.get((job.name, job.arm, job.budget, -1 if job.label_set is None else job.label_set, job.seed))
        if row is None or "settings" not in row:
            continue
        wanted, held = json.loads(json.dumps(flat(job.recipe))), row["settings"]  # as JSON writes it
        _refuse_changed(job, out, {key: held[key] for key in wanted if key in held}, wanted)
        if not (job.folder(out) / RESULT).exists():
            files.make_folder(job.folder(out))
            files.write_text(job.folder(out) / RESULT, json.dumps(row, ensure_ascii=False) + "\n")


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


def held_protocol(out: Path) -> Protocol | None:
    """Return the protocol that lies in a bench's folder, None if there is none."""
    return read_protocol(out / PROTOCOL) if (out / PROTOCOL).is_file() else None


def write_final(out: Path) -> str:
    """Look at the test images that were held back: write final-table.md, note the look, and return the table.

    Looks are noted in final-looks.jsonl, each with its time and the hashes of protocol and results.
    """
    protocol = held_protocol(out)
    if protocol is None:
        raise UserError(f"--final: {out} has no {PROTOCOL}, so nothing was held back. Leave out --final.")
    if missing := unfinished(protocol.jobs(), out):
        raise UserError(
            f"--final: {len(missing)} runs of the protocol are not finished, for example {missing[0]}. The "
            "held-back images are looked at once, with all runs; give the same command again first."
        )
    rows = read_rows(out / RESULTS)
    refuse_unfair(rows)
    table, looks = make_table(rows, protocol, final=True), out / FINAL_LOOKS
    look = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": source_commit(),
        "protocol": protocol.sha256,
        "results": hashlib.sha256((out / RESULTS).read_bytes()).hexdigest(),
    }
    before = looks.read_text(encoding="utf-8") if looks.exists() else ""
    files.write_text(looks, before + json.dumps(look) + "\n")  # first: a look is noted before it is taken
    files.write_text(out / FINAL_TABLE, table)
    return table


def write_comparison(out: Path, anew: bool = True) -> str:
    """Write what follows from results.jsonl beside it and return the table; `UserError` if it would not be fair.

    Unless `anew`, a page that is younger than the results is left as it is. Of a protocol, the open test images alone count.
    """
    rows, protocol = read_rows(out / RESULTS), held_protocol(out)
    refuse_unfair(rows)
    table, page = make_table(rows, protocol), out / PAGE
    if protocol is not None:
        rows = [protocol.shown(row, final=False) for row in rows]
    if anew or not page.exists() or page.stat().st_mtime_ns < (out / RESULTS).stat().st_mtime_ns:
        files.write_text(out / "table.md", table)
        write_figures(out, rows)
        write_page(page, render(rows, protocol))
    return table


def refuse_other_bench(out: Path, jobs: Sequence[Job]) -> None:
    """Raise `UserError` if `out` holds something else, or a run of these jobs with other settings."""
    refuse_file(out)
    if not (out / "runs").is_dir() and not (out / RESULTS).is_file() and not is_unused(out):
        raise UserError(f"--out {out} is not empty and holds no bench. Give a new or empty folder.")
    for job in jobs:
        folder = job.folder(out)
        if (folder / "recipe.toml").exists():
            wanted = flat(job.recipe)
            _refuse_changed(job, out, dict.fromkeys(wanted) | flat(read_recipe_of(folder)), wanted)


def refuse_other_protocol(out: Path, protocol: Protocol | None) -> None:
    """Raise `UserError` if the bench in `out` was declared by another protocol, or was begun without one."""
    if protocol is None:
        return
    held = held_protocol(out)
    if held is None and (out / "runs").is_dir():
        raise UserError(f"--out {out} holds a bench that was begun without a protocol. Give another --out.")
    if held is not None and held.sha256 != protocol.sha256:
        raise UserError(
            f"--out {out} was declared by another protocol (see {PROTOCOL} there). What was declared is not "
            "changed while it is measured: give another --out."
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


def _refuse_changed(job: Job, out: Path, held: Mapping[str, object], wanted: Mapping[str, object]) -> None:
    """Raise `UserError` if a setting that `held` has, by its full name, is not as the job wants it."""
    changed = [f"{key} is {held[key]!r}, now {wanted[key]!r}" for key in wanted if key in held and held[key] != wanted[key]]
    if changed:
        raise UserError(
            f"--out {out} holds the run {job} with other settings ({', '.join(changed[:5])}). Give another --out, or the same "
            "settings to continue."
        )


def _leave_no_trace(out: Path) -> None:
    """Leave no trace of a call that was refused before its first run began."""
    if not any((out / "runs").iterdir()):
        (out / "runs").rmdir()
        (out / PROTOCOL).unlink(missing_ok=True)
        (out / MARKER).unlink(missing_ok=True)
        shutil.rmtree(out / "logs", ignore_errors=True)


def _path(row: Row) -> tuple[object, ...]:
    return row["recipe"], row["arm"], row["budget"], *unit(row)


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
            "label_set": event.job.label_set,
            "seed": event.job.seed,
            "error": event.error,
            "trace": event.trace,
        }
        for event in failed
    ]
    files.write_lines(path, rows)
