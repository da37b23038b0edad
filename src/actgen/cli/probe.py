"""`actgen probe`: parse, call, show."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..core.errors import UserError
from ..core.text import brief, for_terminal
from .flags import AsJson, console, show_json, stderr

if TYPE_CHECKING:
    from ..studies.probe.run import Found

INCEPTION = "inception"
WIDE = 140
"""Columns of a terminal that has room for a row a candidate; in others each has a column."""


def probe(
    data: Annotated[str, typer.Option(help="As for train. Only training images are looked at.")],
    out: Annotated[Path, typer.Option(help="Folder; the same command continues it.")],
    generator: Annotated[
        list[str], typer.Option(help="NAME or NAME:sampling.a=b,loading.c=d. May be repeated: one candidate each.")
    ],
    count: Annotated[int, typer.Option(help="Generated images of each, evenly over the classes.", min=2, max=1_000_000)] = 200,
    classifier: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Folder of a finished run; else one is trained.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Of the classifier that is trained, as for train.")] = None,
    clip: Annotated[str | None, typer.Option(help="Folder or hub id of a CLIP model, asked for the class too.")] = None,
    fid: Annotated[str | None, typer.Option(help="inception: FID too; needs torch-fidelity and weights.")] = None,
    train: Annotated[
        bool, typer.Option("--train", help="Train a classifier on each candidate's generated images alone.")
    ] = False,
    lora: Annotated[str | None, typer.Option(help="LoRA weights for all candidates: loading.lora.")] = None,
    seed: Annotated[int, typer.Option(help="Everything random follows from it.", min=0)] = 0,
    settings: Annotated[list[str] | None, typer.Option("--set", help="a.b=c for all. May be repeated.")] = None,
    on_bad_image: Annotated[str, typer.Option(help="Image files that cannot be read: refuse, or skip and count.")] = "refuse",
    as_json: AsJson = False,
) -> None:
    """Measure which of several generators and settings suits the data, before any long run.

        actgen probe --data my_photos --generator mine --generator mine:sampling.guidance_scale=3 --out runs/probe

    Each candidate generates the same number of images from the same seeds. They are compared with training images that no
    classifier here has seen; test images are never looked at.
    """
    from ..studies.probe.candidates import parse_candidates
    from ..studies.probe.config import Probe
    from ..studies.probe.judge import make_learner
    from ..studies.probe.run import probe as measure
    from .show import Bars

    if fid not in (None, INCEPTION):
        raise UserError(
            f"--fid {brief(fid)} is unknown; allowed: {INCEPTION}. Without it there is the Frechet distance in the "
            "classifier's own features."
        )
    candidates = parse_candidates(generator, settings or [], lora=lora, seed=seed)
    asked = Probe(
        data=data,
        candidates=candidates,
        learner=make_learner(data, settings or [], model, seed),
        count=count,
        seed=seed,
        classifier=classifier,
        clip=clip or "",
        inception=fid == INCEPTION,
        train=train,
        on_bad_image=on_bad_image,
    )
    with Bars(stderr) as bars:
        found = measure(asked, out, lambda what, done, of: bars.at(for_terminal(what), done, of))
    if as_json:
        show_json(asdict(found))
    else:
        _show(found, out)


def _show(found: Found, out: Path) -> None:
    from rich.table import Table

    from ..studies.probe.run import PAGE, SHEET
    from ..studies.probe.table import cells, heads

    rows = [heads(found.measures), *(cells(name, one, found.measures) for name, one in found.measures.items())]
    if console.width < WIDE:
        rows = list(zip(*rows, strict=True))
    table = Table()
    for number, title in enumerate(rows[0]):
        table.add_column(for_terminal(title), justify="right" if number else "left", overflow="fold", no_wrap=not number)
    for row in rows[1:]:
        table.add_row(*map(for_terminal, row))
    console.print(table)
    console.print(f"try {for_terminal(found.advice.name)}: {for_terminal(found.advice.reason)}")
    for remark in found.remarks:
        console.print(for_terminal(remark))
    console.print(f"look at {for_terminal(out / SHEET)}; page: {for_terminal(out / PAGE)}")
