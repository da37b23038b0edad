"""`actgen data`: what was understood of a data set, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..core.text import for_terminal
from .flags import HELP, AsJson, FollowLinks, Layout, OnBadImage, Settings, console, show_json

if TYPE_CHECKING:
    from rich.console import Console

    from ..experiment.understood import SplitSeen, Understood

_MOST = 20  # classes that are listed


def data(
    data: Annotated[str, typer.Argument(metavar="DATA", help=HELP["data"])],
    on_bad_image: OnBadImage = None,
    layout: Layout = None,
    follow_links: FollowLinks = None,
    generator: Annotated[str | None, typer.Option(help="Open this generator too, and show its parts.")] = None,
    recipe: Annotated[Path | None, typer.Option("--recipe", help="TOML file or the name of a shipped recipe.")] = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Show what a data set is understood to be: classes, splits, sizes, what is left out and why, prompts."""
    from ..experiment.build import open_data, open_generator
    from ..experiment.config import build_recipe
    from ..experiment.understood import understand

    flags = {
        "data": data,
        "on_bad_image": on_bad_image,
        "reading.layout": layout,
        "reading.follow_links": follow_links,
        "generator": generator,
    }
    full = build_recipe(recipe, settings or [], flags)
    real = open_data(full)
    adapter = None if generator is None else open_generator(full.generator, real.train.class_names, loading=full.loading)
    seen = understand(full, real, adapter)
    if as_json:
        show_json(seen.to_json())
    else:
        show_understood(console, seen)


def show_understood(console: Console, seen: Understood, before: str = "") -> None:
    """Print what was understood, a line each; `before` stands before every line."""

    def say(text: str) -> None:
        console.print(before + for_terminal(text))

    say(f"data: {seen.data}")
    for split in seen.splits:
        say(_counted(split))
    for note in seen.notes:
        say(f"note: {note}")
    for reason in seen.left_out:
        say(f"left out: {reason.count} file{'s' if reason.count > 1 else ''} ({reason.reason}); the first: {reason.first}")
    prompts = seen.prompts
    say(f"prompts: {prompts.count}; first {prompts.first!r}, shortest {prompts.shortest!r}, longest {prompts.longest!r}")
    if (generator := seen.generator) is not None:
        lora = f", LoRA {generator.lora}" if generator.lora else ""
        licence = f", licence {generator.licence}" if generator.licence else ""
        say(f"generator: {generator.name} ({generator.pipeline}, {generator.image_size} pixels{lora}{licence})")
        for name, part in generator.parts.items():
            say(f"  {name}: {part}")


def _counted(split: SplitSeen) -> str:
    sizes = split.sizes
    small, large = ("x".join(map(str, size)) for size in (sizes.smallest, sizes.largest))
    size = small if small == large else f"{small} to {large}"
    listed = [f"{name} {count}" for name, count in list(split.classes.items())[:_MOST]]
    more = f" and {len(split.classes) - _MOST} more" if len(split.classes) > _MOST else ""
    return (
        f"{split.name}: {split.images} images of {size} pixels ({sizes.looked_at} looked at) in {len(split.classes)} classes: "
        f"{', '.join(listed)}{more}"
    )
