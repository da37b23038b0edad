"""`actgen demo`: parse, call, show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from .flags import AsJson, Out, Settings, console, stderr

LabelSets = Annotated[str, typer.Option(help="0:3: the labels drawn anew for each; its number is its seed.")]
Processes = Annotated[int | None, typer.Option(help="Runs at a time; else one a GPU, or one a core.", min=1)]


def demo(
    out: Out = Path("runs/demo"),
    label_sets: LabelSets = "0:3",
    processes: Processes = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Does it help? Five ways to train on 20 images a class, three label sets, a verdict and a page.

        actgen demo --out runs/demo

    Nothing to download and no GPU needed: data and generator come with the package.
    """
    from ..studies.bench.plan import parse_seeds
    from ..studies.bench.pool import default_processes
    from ..studies.bench.run import PAGE
    from ..studies.demo import missing, page_of, plan_demo, run_demo
    from .bench import BenchBars, show_bench

    jobs = plan_demo(settings or [], parse_seeds(label_sets, "--label-sets"))
    count = processes or min(default_processes(), len(jobs))
    with BenchBars(stderr, len(jobs), len(jobs) - missing(jobs, out), count) as bars:
        table = run_demo(jobs, out, bars.show, count)
    if as_json:
        show_bench(out, 0)
        return
    console.print(escape(table))
    console.print(f"page: {escape(str(out / PAGE))}; one run of actgen: {escape(str(page_of(jobs, out)))}")
