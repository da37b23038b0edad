"""`actgen bench`: parse, call, show."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..core.errors import UserError
from .flags import AsJson, console, show_json, stderr

if TYPE_CHECKING:
    from ..studies.bench.plan import Job
    from ..studies.bench.pool import Event

Recipes = Annotated[list[str] | None, typer.Argument(metavar="RECIPE...", help="TOML files, or names of shipped recipes.")]
Arms = Annotated[
    str | None, typer.Option(help="What to compare: strategies, controls, and arms of --arm. Else none,text-only,actgen.")
]
Budgets = Annotated[str | None, typer.Option(help="0.1,0.3: generated images by real ones, if not as in the recipe.")]
Own = Annotated[list[str] | None, typer.Option("--arm", help="An arm of your own: NAME:a.b=c,d=e. May be repeated.")]

ARMS, TEST = "none,text-only,actgen", "test"


def bench(
    recipes: Recipes = None,
    seeds: Annotated[str | None, typer.Option(help="0:5 (0 to 4, the default) or 0,3,7.")] = None,
    label_sets: Annotated[
        str | None, typer.Option(help="0:16: generate the labels anew for each; its number is its seed.")
    ] = None,
    arms: Arms = None,
    budgets: Budgets = None,
    evaluate: Annotated[str | None, typer.Option(help="test, or validation while settings are being chosen.")] = None,
    own: Own = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="a.b=c for all arms. May be repeated.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder; the same command continues it. Else runs/bench/RECIPE.")] = None,
    processes: Annotated[int | None, typer.Option(help="Runs at a time; else one a GPU, or one a core.", min=1)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the runs and their time; write nothing.")] = False,
    table: Annotated[Path | None, typer.Option(help="Only print the table of this results.jsonl.")] = None,
    protocol: Annotated[Path | None, typer.Option(help="Run what this TOML file declares, and nothing else.")] = None,
    final: Annotated[bool, typer.Option("--final", help="Look at the test images that the protocol holds back.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare ways to make training images: every arm with every seed, paired differences with intervals.

    An arm is a strategy (none, text-only, actgen, ...), a control (focal,
    mixup-cutmix, randaugment), an arm of your own (--arm), one of the
    tables [arms.NAME] in RECIPE.arms.toml beside RECIPE.toml, or any that
    generates on top of a control (actgen+randaugment).

        actgen bench fashion-mnist-2000 --seeds 0:5 --arms none,text-only,actgen
    """
    if final and protocol is None:
        raise UserError("--final looks at what a protocol holds back. Give the --protocol, too.")
    if table is not None:
        _print_table(table, as_json)
        return
    from ..studies.bench.pool import default_processes
    from ..studies.bench.run import run_all, unfinished, write_comparison, write_final

    declared = None
    if protocol is None:
        jobs = _plan(recipes or [], seeds, label_sets, arms or ARMS, budgets, evaluate or TEST, own or [], settings or [])
    else:
        _refuse_beside_protocol(
            recipes=recipes,
            seeds=seeds,
            label_sets=label_sets,
            arms=arms,
            budgets=budgets,
            evaluate=evaluate,
            arm=own,
            set=settings,
        )
        from ..studies.bench.protocol import read_protocol

        declared = read_protocol(protocol)
        jobs = declared.jobs()
        out = out or Path("runs") / "bench" / protocol.resolve().parent.name
    out = out or _default_out(jobs, evaluate or TEST)
    count = processes or default_processes()
    if dry_run:
        _dry_run(jobs, out, count)
        return
    with BenchBars(stderr, len(jobs), len(jobs) - len(unfinished(jobs, out)), count) as bars:
        bars.tells = declared is None  # accuracies are of all test images, of which a protocol holds a half back
        failed = run_all(jobs, out, count, bars.show, declared)
    shown = write_final(out) if final else write_comparison(out, anew=False) if len(failed) < len(jobs) else ""
    if as_json:
        show_bench(out, len(failed))
        raise typer.Exit(bool(failed))
    console.print(escape(shown))
    console.print(f"in {escape(str(out))}: results.jsonl, table.md, bench.html")
    if failed:
        console.print(f"{len(failed)} of {len(jobs)} runs failed; see failures.jsonl there. The same command tries them again.")
        raise typer.Exit(1)


def _plan(
    recipes: list[str],
    seeds: str | None,
    label_sets: str | None,
    arms: str,
    budgets: str | None,
    evaluate: str,
    own: list[str],
    settings: list[str],
) -> list[Job]:
    from ..studies.bench.arms import find_arms, parse_arm, read_arms
    from ..studies.bench.plan import find_recipes, parse_budgets, parse_seeds, plan_jobs

    if not recipes:
        raise UserError(
            "bench needs a recipe: a TOML file or the name of a shipped one; `actgen bench --help` shows an example."
        )
    files = find_recipes(recipes)
    given = dict(parse_arm(text) for text in own)
    names = [name.strip() for name in arms.split(",") if name.strip()]
    chosen = {name: find_arms(names, {**read_arms(path), **given}) for name, path in files.items()}
    sets = parse_seeds(label_sets, "--label-sets") if label_sets else ()
    usual = "" if sets else "0:5"
    return plan_jobs(
        files,
        chosen,
        parse_seeds(seeds or usual) if seeds or usual else (),
        parse_budgets(budgets) if budgets else (),
        settings,
        evaluate,
        sets,
    )


def _refuse_beside_protocol(**given: object) -> None:
    """Raise `UserError` for an option that would change what a protocol declares."""
    if said := [name for name, value in given.items() if value]:
        what = "recipes" if said[0] == "recipes" else f"--{said[0].replace('_', '-')}"
        raise UserError(
            f"--protocol runs what its file declares, and {what} would change it. Leave it out, or change the file "
            "before anything is run."
        )


def _default_out(jobs: list[Job], evaluate: str) -> Path:
    names = "+".join(dict.fromkeys(job.name for job in jobs))
    return Path("runs") / "bench" / (names if evaluate == "test" else f"{names}-{evaluate}")


def report_bench(folder: Path) -> None:
    """Write table, figures and page of a bench again, from its results.jsonl alone."""
    from ..studies.bench.run import PAGE, write_comparison

    write_comparison(folder)
    console.print(f"page: {escape(str(folder / PAGE))}")


def show_bench(out: Path, failed: int) -> None:
    """Print the comparisons; of a protocol, over the test images that are open."""
    from ..studies.bench.compare import compare
    from ..studies.bench.rows import RESULTS, read_rows
    from ..studies.bench.run import held_protocol

    rows, protocol = (read_rows(out / RESULTS) if (out / RESULTS).is_file() else []), held_protocol(out)
    if protocol is not None:
        rows = [protocol.shown(row, final=False) for row in rows]
    show_json({"out": str(out), "failed": failed, "arms": [one.facts for one in compare(rows)]})


def _print_table(path: Path, as_json: bool) -> None:
    from ..studies.bench.fairness import refuse_unfair
    from ..studies.bench.rows import read_rows
    from ..studies.bench.run import held_protocol
    from ..studies.bench.table import make_table

    rows = read_rows(path)
    refuse_unfair(rows)
    if as_json:
        show_bench(path.parent, 0)
        return
    console.print(escape(make_table(rows, held_protocol(path.parent))))


def _dry_run(jobs: list[Job], out: Path, processes: int) -> None:
    from ..studies.bench.forecast import forecast
    from ..studies.bench.run import check_compatible_arms, refuse_other_bench, unfinished

    refuse_other_bench(out, jobs)
    check_compatible_arms(out, jobs)
    missing = unfinished(jobs, out)
    console.print(f"{len(jobs)} runs in {escape(str(out))}, {len(missing)} of them still to do, {processes} at a time.")
    seconds = 0.0
    for part in forecast(missing, out, max(1, len(os.sched_getaffinity(0)) // processes)):
        seconds += part.runs * part.seconds
        console.print(
            f"{escape(part.name)}: {part.runs} runs of {part.optimizer_steps} optimiser steps and {part.images} "
            f"images, about {part.seconds:.0f} s each"
        )
    console.print(f"about {seconds / processes / 60:.0f} minutes in all, by a short measurement. Nothing was written.")


class BenchBars:
    """A bar of all runs with the time left, and one for every process; without a terminal, a line a run."""

    def __init__(self, console: Console, runs: int, done: int, processes: int) -> None:
        self._console, self._runs, self._done = console, runs, done
        self._progress = Progress(
            TextColumn("{task.description:<40}"),
            BarColumn(30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._all = self._progress.add_task("runs", total=runs, completed=done)
        self._tasks: dict[int, TaskID] = {}
        self.tells = True

    def __enter__(self) -> BenchBars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, event: Event) -> None:
        """Show what a process tells."""
        if event.kind == "started":
            self._start(event)
        elif event.kind == "epoch":
            self._progress.update(self._tasks[event.worker], completed=event.done, description=str(event.job))
        elif event.kind == "sample":
            self._progress.update(self._tasks[event.worker], description=f"{event.job}: generating {event.done} of {event.of}")
        else:
            self._end(event)

    def _start(self, event: Event) -> None:
        if event.worker not in self._tasks:
            self._tasks[event.worker] = self._progress.add_task("", total=1)
        self._progress.reset(self._tasks[event.worker], total=event.job.recipe.training.epochs, description=str(event.job))

    def _end(self, event: Event) -> None:
        from ..studies.bench.rows import accuracy

        self._done += 1
        self._progress.update(self._all, completed=self._done)
        if event.row is None:
            said = f"failed: {event.error}"
        else:
            seconds = event.row["train_seconds"] + event.row["generation_seconds"]
            said = (f"{accuracy(event.row):.2f}%  " if self.tells else "") + f"{seconds:.0f} s"
        self._progress.console.print(f"[{self._done}/{self._runs}] {event.job}: {said}", markup=False)
