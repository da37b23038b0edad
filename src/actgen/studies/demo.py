"""`actgen demo`: a small bench of what is bundled, few labels, several label sets: does it help, and what helps without it?

Real images alone, the best control without a generator, images of random classes and the published method at its share of 30%,
and plenty: random classes at four times the labels. Equal optimiser steps, equal test images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ..core.assets import recipes_folder
from ..core.errors import UserError, refuse_file
from ..experiment.build import open_run
from ..report.html import write_report
from .bench.arms import find_arms
from .bench.plan import Job, plan_jobs
from .bench.pool import Event, default_processes
from .bench.run import refuse_other_bench, run_all, unfinished, write_comparison

RECIPE = "demo"
ARMS: Sequence[tuple[tuple[str, ...], float]] = (
    (("none", "mixup-cutmix"), 0.0),
    (("text-only", "actgen"), 0.3),
    (("text-only",), 4.0),
)
LABEL_SETS = (0, 1, 2)
SHOWN = ("actgen", 0.3)
"""Whose page of one run is written: arm and budget."""


def plan_demo(settings: Sequence[str], label_sets: Sequence[int] = LABEL_SETS) -> list[Job]:
    """Return the runs, those of the first label set first; `settings` (a.b=c) hold for all arms."""
    files = {RECIPE: recipes_folder() / f"{RECIPE}.toml"}
    jobs: list[Job] = []
    for names, budget in ARMS:
        arms = {RECIPE: find_arms(names, {})}
        budgets = (budget,) if budget else ()
        jobs += plan_jobs(files, arms, (), budgets, ["generation.previews=8", *settings], "test", label_sets)
    return sorted(jobs, key=lambda job: label_sets.index(job.recipe.label_set))


def run_demo(jobs: Sequence[Job], out: Path, on_event: Callable[[Event], None], processes: int | None = None) -> str:
    """Do what is missing of the runs and return the table; at the end `out` holds bench.html and the page of one run.

    `UserError` if a run failed, or `out` holds something else.
    """
    refuse_file(out)
    if missing(jobs, out):  # what is wrong is found before the first run trains
        refuse_other_bench(out, jobs)
        shown = _shown(jobs)
        open_run(shown.recipe, shown.folder(out))
    if failed := run_all(jobs, out, processes or min(default_processes(), len(jobs)), on_event):
        raise UserError(f"{len(failed)} of {len(jobs)} runs failed: {failed[0].error}. See {out / 'failures.jsonl'}.")
    write_report(page_of(jobs, out).parent)
    return write_comparison(out, anew=False)


def page_of(jobs: Sequence[Job], out: Path) -> Path:
    """Return where the page of the one run is."""
    return _shown(jobs).folder(out) / "report.html"


def _shown(jobs: Sequence[Job]) -> Job:
    return next(job for job in jobs if (job.arm, job.budget) == SHOWN)


def missing(jobs: Sequence[Job], out: Path) -> int:
    """Return how many runs are still to do."""
    return len(unfinished(jobs, out))
