"""`actgen demo`: three runs with equal optimiser steps and equal seeds, and a table that says what was measured."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..core import files
from ..core.errors import UserError, refuse_file
from ..core.marker import mark
from ..report.html import write_report
from ..training.stages import EpochStats
from .build import open_data, open_run
from .config import Recipe
from .run import SHOWN, OnProgress, run
from .understood import Understood, understand

ARMS = ("none", "text-only", "actgen")


def run_demo(
    recipe: Recipe,
    out: Path,
    *,
    on_open: Callable[[Understood], None] | None = None,
    on_epoch: Callable[[str, EpochStats], None],
    on_batch: OnProgress | None = None,
    on_sample: OnProgress | None = None,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Run every arm of the recipe, yielding (arm, summary); at the end `out` holds summary.json and report.html."""
    refuse_file(out)
    if out.exists() and any(out.iterdir()) and not (out / "arms").is_dir():
        raise UserError(f"--out {out} is not empty and holds no demo. Give a new or empty folder.")
    data = open_data(recipe)
    if not (out / "summary.json").exists():  # opens all that any arm needs, so what is wrong is found before the first trains
        open_run(replace(recipe, strategy="actgen"), out / "arms" / "actgen", data)
    if on_open is not None:
        on_open(understand(recipe, data))
    arms: dict[str, dict[str, Any]] = {}
    for arm in ARMS:
        summary = run(
            replace(recipe, strategy=arm),
            out / "arms" / arm,
            data=data,
            on_batch=on_batch,
            on_sample=on_sample,
            on_epoch=lambda stats, arm=arm: on_epoch(arm, stats),  # type: ignore[misc]
        )
        mark(out)
        arms[arm] = {key: summary[key] for key in SHOWN}
        yield arm, arms[arm]
    facts = {"arms": arms, "seed": recipe.seed, "data": recipe.data, "generator": recipe.generator}
    files.write_text(out / "summary.json", json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    write_report(out)
