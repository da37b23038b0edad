"""`actgen train --baseline`: the same training on real images only, in OUT/baseline, so that a run can tell if it helped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ..core.errors import UserError
from ..core.parallel import agreeing
from ..report.html import write_report
from ..report.reading import BASELINE, REAL_ONLY
from ..training.callbacks import SILENT, Callbacks
from .build import refuse_other_run
from .config import Recipe
from .run import run


def real_only_of(recipe: Recipe, out: Path) -> Recipe:
    """Return the recipe of the run that `recipe` in folder `out` is compared with: same seed, steps and real images.

    Raises:
        UserError: if `recipe` generates nothing, or `out` holds another baseline.
    """
    if recipe.strategy == REAL_ONLY:
        raise UserError(
            f"--baseline compares with strategy {REAL_ONLY!r}, which is what this run has. Give another --strategy, or leave "
            "it out."
        )
    base = replace(recipe, strategy=REAL_ONLY)
    refuse_other_run(base, out / BASELINE)
    return base


def run_baseline(base: Recipe, out: Path, callbacks: Callbacks = SILENT) -> Mapping[str, object]:
    """Run `base` in OUT/baseline and write the page of `out` anew, with the verdict; an equal finished run is only read.

    Of several processes all must call this.
    """
    summary = run(base, out / BASELINE, callbacks=callbacks, page=False)
    agreeing.of_first(lambda: str(write_report(out)))
    return summary
