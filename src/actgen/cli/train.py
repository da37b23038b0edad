"""`actgen train` and `actgen demo`: parse, call, show."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ..core.parallel import agreeing, ranks
from .flags import (
    HELP,
    OUT,
    AsJson,
    DataSpec,
    FollowLinks,
    GeneratorName,
    Layout,
    Masks,
    ModelName,
    OnBadImage,
    Seed,
    Settings,
    console,
    show_json,
    stderr,
)

RecipeFile = Annotated[
    Path | None, typer.Option("--recipe", help="TOML file or the name of a shipped recipe; --dry-run prints a complete one.")
]
Track = Annotated[
    list[str] | None, typer.Option(help="tensorboard, wandb, mlflow or trackio, or NAME:PROJECT. May be repeated.")
]


def train(
    out: Annotated[Path | None, typer.Option(help=f"{OUT} Not given: runs/ and the recipe's name.")] = None,
    data: DataSpec = None,
    on_bad_image: OnBadImage = None,
    layout: Layout = None,
    follow_links: FollowLinks = None,
    model: ModelName = None,
    generator: GeneratorName = None,
    masks: Masks = None,
    strategy: Annotated[str | None, typer.Option(help=HELP["strategy"])] = None,
    epochs: Annotated[int | None, typer.Option(help=HELP["training.epochs"])] = None,
    budget: Annotated[float | None, typer.Option(help=HELP["generation.budget"])] = None,
    generate_on: Annotated[str | None, typer.Option(help=HELP["generation.on"])] = None,
    seed: Seed = None,
    recipe: RecipeFile = None,
    settings: Settings = None,
    track: Track = None,
    baseline: Annotated[
        bool, typer.Option("--baseline", help="Then train on real images only, in OUT/baseline, and say whether it helped.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print configuration, count and time; write nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train a classifier with active generation."""
    from ..experiment.baseline import real_only_of, run_baseline
    from ..experiment.config import build_recipe, read_tracking
    from ..experiment.dry_run import estimate
    from ..experiment.run import run
    from ..experiment.tracking import parse_trackers
    from .data import show_understood
    from .show import RunBars, show_estimate, show_summary

    flags = {
        "data": data,
        "model.name": model,
        "generator": generator,
        "strategy": strategy,
        "training.epochs": epochs,
        "generation.budget": budget,
        "generation.on": generate_on,
        "seed": seed,
        "on_bad_image": on_bad_image,
        "reading.layout": layout,
        "reading.follow_links": follow_links,
        "masks": masks,
    }
    if dry_run and ranks.launched() > 1:
        raise ranks.Shared("--dry-run measures one process: give it without the launcher.")
    ranks.begin()
    with agreeing.agreed():
        full = build_recipe(recipe, settings or [], flags)
    out = Path("runs") / ("train" if recipe is None else recipe.stem) if out is None else out
    track = track or [read_tracking(recipe, settings or [])]
    with agreeing.agreed():
        parse_trackers(track)
        base = real_only_of(full, out) if baseline else None
    if dry_run:
        show_estimate(console, full, estimate(full, out))
        if base is not None:
            console.print("# --baseline trains once more, on real images only: as many optimiser steps, nothing generated.")
        return
    console.quiet = not ranks.is_first()
    stderr.quiet = stderr.quiet or console.quiet
    with RunBars(stderr, full.training.epochs * (2 if base else 1)) as bars:
        summary = run(
            full,
            out,
            on_open=partial(show_understood, stderr),
            callbacks=bars.callbacks(full.strategy),
            track=track,
        )
        if base is not None:
            run_baseline(base, out, bars.callbacks(base.strategy))
    if ranks.is_first() and as_json:
        show_json(summary)
    elif ranks.is_first():
        show_summary(console, summary, out)
    ranks.end()
