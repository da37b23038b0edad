"""`actgen report`: parse, call, show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..core.errors import UserError
from ..core.text import for_terminal
from .bench import report_bench
from .flags import console


def report(folder: Annotated[Path, typer.Argument(help="Folder of a run, a demo or a bench.")]) -> None:
    """Write the page of a run or a demo again, or the table, figures and page of a bench."""
    from ..report.html import write_report

    if (folder / "results.jsonl").is_file():
        report_bench(folder)
        return
    if not (folder / "summary.json").is_file():
        raise UserError(
            f"{folder} holds no summary.json: it is no finished run. Give the --out of a finished train, demo or bench."
        )
    console.print(f"page: {for_terminal(write_report(folder))}")
