"""`actgen generate`: parse, call, show."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from ..core.errors import UserError
from ..core.text import for_terminal
from .flags import Settings, console, stderr

MOST = 10_000_000


def generate(
    out: Annotated[Path, typer.Option(help="Store to generate into.")],
    classes: Annotated[str | None, typer.Option(help="Class names, separated by commas.")] = None,
    count: Annotated[
        int | None, typer.Option(help="Images in all, evenly over --classes; 100 if not given.", min=1, max=MOST)
    ] = None,
    from_manifest: Annotated[Path | None, typer.Option(metavar="STORE", help="Store whose images to generate again.")] = None,
    key: Annotated[list[str] | None, typer.Option(help="Image of that store, as in metadata.jsonl. May be repeated.")] = None,
    data: Annotated[str | None, typer.Option(help="Where the data of that store's run are now, if they have moved.")] = None,
    masks: Annotated[str | None, typer.Option(help="Where the masks of that store's run are now, if they have moved.")] = None,
    generator: Annotated[
        str | None, typer.Option(help="bundled, a diffusers folder, or a hub id. Not given: bundled, or as in metadata.jsonl.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Everything random follows from it; 0 if not given.")] = None,
    settings: Settings = None,
) -> None:
    """Generate images into a store: from class names, or those of another store again.

    From class names, by text alone:

        actgen generate --classes "coat,ankle boot" --count 50 --out pictures

    Again, with all guides, the same pixel for pixel on the same machine; STORE is
    the folder "store" of a run, or what generate made:

        actgen generate --from-manifest run/store --key r003-00012 --out again
    """
    fresh = {"--classes": classes, "--count": count, "--seed": seed, "--set": settings}
    again = {"--from-manifest": from_manifest, "--key": key, "--data": data, "--masks": masks}
    if classes is not None and from_manifest is None:
        _refuse_given("--classes", again)
        _generate_classes(classes, 100 if count is None else count, generator or "bundled", seed or 0, settings or [], out)
    elif classes is None and from_manifest is not None:
        _refuse_given("--from-manifest", fresh)
        _generate_again(from_manifest, key or [], data, masks, generator, out)
    else:
        raise UserError(
            f"generate was given {'neither' if classes is None else 'both'} of --classes and --from-manifest. Give "
            "one: --classes 'coat,ankle boot', or --from-manifest STORE --key KEY."
        )


def _refuse_given(mode: str, others: Mapping[str, object]) -> None:
    if given := [name for name, value in others.items() if value is not None]:
        raise UserError(f"{', '.join(given)} cannot go with {mode}. Leave it out; `actgen generate --help` shows both uses.")


def _generate_classes(classes: str, count: int, generator: str, seed: int, settings: list[str], out: Path) -> None:
    from accelerate import PartialState

    from ..core.memory import peak_gib
    from ..experiment.config import build_recipe
    from ..experiment.generate import generate_from_text
    from .show import Bar

    recipe = build_recipe(None, settings, {"generator": generator, "seed": seed})
    names = [name.strip() for name in classes.split(",") if name.strip()]
    with Bar(stderr, "generating", count) as bar:
        for done in generate_from_text(recipe, names, count, out):
            bar.at(done)
    console.print(f"{count} images in {for_terminal(out)}; at most {peak_gib(PartialState().device):.1f} GiB of memory")


def _generate_again(
    store: Path, keys: list[str], data: str | None, masks: str | None, generator: str | None, out: Path
) -> None:
    from ..experiment.reproduce import regenerate
    from .show import Bar, show_regenerated

    with Bar(stderr, "generating", len(set(keys))) as bar:
        done = []
        for one in regenerate(store, keys, out, data=data, masks=masks, generator=generator):
            done.append(one)
            bar.at(len(done))
    show_regenerated(console, done, out)
