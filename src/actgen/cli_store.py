"""`actgen store`: what can be asked of a folder of drawn images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

store = typer.Typer(no_args_is_help=True, help="Check a folder of drawn images.")
console = Console(highlight=False, emoji=False, soft_wrap=True)


@store.command()
def leaks(
    folder: Annotated[Path, typer.Argument(metavar="STORE", help="Folder with metadata.jsonl.")],
    data: Annotated[str, typer.Option(help="The data whose test images must not be in the store, as for train.")],
    distance: Annotated[float, typer.Option(help="Images nearer than this are the same; see filters.leakage_distance.")] = 0.1,
) -> None:  # fmt: skip
    """List stored images that are too near to a test image; exit code 2 if there are any, 0 if there are none."""
    from .checking import check_leaks

    found, images, tests = check_leaks(folder, data, distance)
    for leak in found:
        look = f" ({leak.look})" if leak.look else ""
        console.print(f"{escape(leak.key)} is the test image {escape(leak.test_key)}{look}, distance {leak.distance:.3f}")
    console.print(f"{len(found)} of {images} images in {escape(str(folder))} are too near to one of {tests} test images")
    if found:
        raise typer.Exit(2)
