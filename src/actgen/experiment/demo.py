"""`actgen demo`: three runs with equal optimiser steps and equal seeds, and a table that says what was measured."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..core import files
from ..core.errors import UserError, refuse_file
from ..report.html import write_report
from ..training.callbacks import Callbacks
from .build import open_data, open_run
from .config import Recipe
from .run import SHOWN, run

ARMS = ("none", "text-only", "actgen")
VALIDATED = "validation_accuracy"


def run_demo(
    recipe: Recipe,
    out: Path,
    callbacks: Callable[[str], Callbacks],
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Run every arm of the recipe, yielding (arm, summary); at the end `out` holds summary.json and report.html.

    `callbacks` gives an arm's.
    """
    refuse_file(out)
    if out.exists() and any(out.iterdir()) and not (out / "arms").is_dir():
        raise UserError(f"--out {out} is not empty and holds no demo. Give a new or empty folder.")
    data = open_data(recipe)
    if not (out / "summary.json").exists():  # opens all that any arm needs, so what is wrong is found before the first trains
        open_run(replace(recipe, strategy="actgen"), out / "arms" / "actgen", data)
    arms: dict[str, dict[str, Any]] = {}
    for arm in ARMS:
        summary = run(
            replace(recipe, strategy=arm),
            out / "arms" / arm,
            data=data,
            callbacks=callbacks(arm),
        )
        arms[arm] = {key: summary[key] for key in SHOWN} | {VALIDATED: summary.get(VALIDATED)}
        yield arm, arms[arm]
    facts = {"arms": arms, "seed": recipe.seed, "data": recipe.data, "generator": recipe.generator}
    files.write_text(out / "summary.json", json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    write_report(out)
