"""`actgen finetune`: parse, call, show."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..core.text import for_terminal
from .flags import HELP, FollowLinks, Layout, OnBadImage, console, stderr

if TYPE_CHECKING:
    from ..data.datasets.imageset import ImageSet
    from ..finetune.scratch import ScratchProgress

_DATA = "As of actgen train: a folder of class folders, fashion-mnist-mini, cifar10:DIR, hf:NAME, ..."


def finetune(
    out: Annotated[Path, typer.Option(help="The folder to make; it appears when complete.")],
    data: Annotated[str, typer.Option(help=_DATA)],
    from_scratch: Annotated[
        str | None, typer.Option("--from-scratch", help="Train this architecture from nothing: tiny (32 pixels).")
    ] = None,
    lora: Annotated[bool, typer.Option("--lora", help="Train LoRA weights for --generator.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Train all weights of the UNet of --generator.")] = False,
    generator: Annotated[str | None, typer.Option(help="For --lora and --full: bundled, a folder, or a hub id.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps (--from-scratch: of the denoiser).", min=1)] = None,
    batch_size: Annotated[int | None, typer.Option(help=HELP["--batch-size"])] = None,
    learning_rate: Annotated[float | None, typer.Option(help=HELP["--learning-rate"])] = None,
    rank: Annotated[int | None, typer.Option(help=HELP["--rank"])] = None,
    alpha: Annotated[int | None, typer.Option(help=HELP["--alpha"])] = None,
    text_encoder: Annotated[bool, typer.Option("--text-encoder", help=HELP["--text-encoder"])] = False,
    resolution: Annotated[int | None, typer.Option(help=HELP["--resolution"])] = None,
    ema: Annotated[float | None, typer.Option(help=HELP["--ema"])] = None,
    precision: Annotated[str | None, typer.Option(help=HELP["--precision"])] = None,
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help=HELP["--gradient-checkpointing"])
    ] = False,
    prior_preservation: Annotated[float | None, typer.Option(help=HELP["--prior-preservation"])] = None,
    prior_images: Annotated[int | None, typer.Option(help=HELP["--prior-images"])] = None,
    caption_dropout: Annotated[float | None, typer.Option(help=HELP["--caption-dropout"])] = None,
    min_snr: Annotated[float | None, typer.Option(help=HELP["--min-snr"])] = None,
    sample_every: Annotated[int | None, typer.Option(help=HELP["--sample-every"])] = None,
    images: Annotated[int, typer.Option(help="Train on so many of the images only, the same as `images` in a recipe.")] = 0,
    autoencoder_steps: Annotated[
        int | None, typer.Option(help="Optimiser steps of the autoencoder of --from-scratch.", min=1)
    ] = None,
    seed: Annotated[int, typer.Option(help="Everything random follows from it.")] = 0,
    on_bad_image: OnBadImage = None,
    layout: Layout = None,
    follow_links: FollowLinks = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="prompts.template=..., sampling.a=b: as in a recipe. May be repeated.")
    ] = None,
    compile: Annotated[bool, typer.Option("--compile", help="torch.compile, for --from-scratch; pays off late.")] = False,
) -> None:
    """Train a generator on your images. Run it again to continue; OUT.work keeps its state.

    LoRA weights for any Stable-Diffusion-type generator, its whole UNet, or a
    small generator from nothing:

        actgen finetune --lora --generator ID --data photos --out my_lora
        actgen finetune --full --generator ID --data photos --out my_generator
        actgen finetune --from-scratch tiny --data photos --out my_generator
    """
    from ..experiment.finetune import FULL, LORA, SCRATCH, Asked, open_training

    given = {
        "from_scratch": from_scratch,
        "lora": lora or None,
        "full": full or None,
        "generator": generator,
        "steps": steps,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "rank": rank,
        "alpha": alpha,
        "text_encoder": text_encoder or None,
        "resolution": resolution,
        "ema": ema,
        "precision": precision,
        "gradient_checkpointing": gradient_checkpointing or None,
        "prior_preservation": prior_preservation,
        "prior_images": prior_images,
        "caption_dropout": caption_dropout,
        "min_snr": min_snr,
        "sample_every": sample_every,
        "autoencoder_steps": autoencoder_steps,
        "compile": compile or None,
        "set": settings,
    }
    options = {name: value for name, value in given.items() if value is not None}
    asked = Asked(data=data, limit=images, out=out, seed=seed, options=options)
    _show(open_training(asked, partial(_images, data, images, on_bad_image, layout, follow_links)))
    made = {SCRATCH: "generator", LORA: "LoRA weights", FULL: "generator"}[asked.way]
    how = "" if asked.way == SCRATCH else "; its README.md says how to use it"
    console.print(f"{made} in {for_terminal(out)}{how}")


def _images(data: str, images: int, on_bad_image: str | None, layout: str | None, follow_links: bool | None) -> ImageSet:
    from ..data.datasets.reading import AUTO, Reading
    from ..data.datasets.sources import load_data
    from ..data.datasets.splits import balanced
    from .show import left_out

    reading = Reading(layout=layout or AUTO, follow_links=bool(follow_links))
    given = load_data(data, on_bad_image or "refuse", reading)
    if given.left_out:
        console.print(left_out(len(given.left_out), given.left_out[0]))
    return balanced(given.train, images) if images else given.train


def _show(training: Iterator[ScratchProgress]) -> None:
    from .show import Bars

    with Bars(stderr) as bars:
        for progress in training:
            tick = progress.tick
            bars.at(progress.stage, tick.step, tick.steps, "" if tick.loss is None else f"loss {tick.loss:.4f}")
