"""`actgen store`: what can be asked of a folder of generated images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from .flags import AsJson, Command, console, show_json, stderr

if TYPE_CHECKING:
    from ..data.store.verify import Finding, StoreVerdict

store = typer.Typer(no_args_is_help=True, help="Check, join or export folders of generated images.")
MOST_SHOWN = 20


@store.command(cls=Command)
def verify(
    folder: Annotated[Path, typer.Argument(metavar="STORE", help="Folder with metadata.jsonl.")],
    repair: Annotated[bool, typer.Option("--repair", help="Move what is wrong to STORE_set_aside; delete nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check every image and every line; exit code 1 if something is damaged, 0 if not.

    What a stopped run leaves (a torn last line, a file that got no line) is told
    and is no damage: the run goes on from it.
    """
    from ..data.store.manifest import Manifest
    from ..data.store.repair import repair as mend
    from ..data.store.verify import verify as check
    from .show import Bar

    if repair:
        done = mend(folder)
        _show(done.before, folder)
        if done.lines or done.files:
            console.print(f"moved to {escape(str(done.folder))}: {done.lines} lines and {done.files} files")
        console.print(f"{escape(str(folder))} holds {len(Manifest(folder / 'metadata.jsonl'))} images")
        return
    with Bar(stderr, "checking", None) as bar:
        verdict = check(folder, bar.at)
    if as_json:
        show_json(asdict(verdict))
        raise typer.Exit(bool(verdict.damage))
    _show(verdict, folder)
    if verdict.damage:
        console.print(
            "`actgen store verify --repair` moves what is damaged aside. First get back what can be got back: from a "
            "backup, or by `actgen generate --from-manifest`, which generates an image again from its line."
        )
        raise typer.Exit(1)


def _show(verdict: StoreVerdict, folder: Path) -> None:
    _list("damage", verdict.damage)
    _list("left over by a stop, no damage", verdict.leftovers)
    unchained = f"; {verdict.unchained} lines of an earlier version carry no chain" if verdict.unchained else ""
    console.print(f"{verdict.images} of {verdict.lines} images in {escape(str(folder))} are sound{unchained}")
    if verdict.chain:
        console.print(f"chain {verdict.chain}")


def _list(title: str, found: Sequence[Finding]) -> None:
    for one in found[:MOST_SHOWN]:
        console.print(f"{title}: {escape(str(one))}")
    if len(found) > MOST_SHOWN:
        console.print(f"{title}: {len(found) - MOST_SHOWN} more")


@store.command(cls=Command)
def merge(
    folders: Annotated[list[Path], typer.Argument(metavar="STORE...", help="Two folders or more with metadata.jsonl.")],
    out: Annotated[Path, typer.Option(help="The store to make; the same command goes on where it was stopped.")],
    prefix: Annotated[
        str, typer.Option(help="For keys that stand for different images: PREFIX and the store's number go in front.")
    ] = "",
) -> None:
    """Join stores into one: identical images once, every line as it was, with the store that it came from."""
    from ..data.store.merging import merge as join
    from .show import Bar

    with Bar(stderr, "merging", None) as bar:
        done = join(folders, out, prefix=prefix, on_progress=bar.at)
    twice = f"; {done.twice} were there twice" if done.twice else ""
    renamed = f"; {done.renamed} have a new key" if done.renamed else ""
    console.print(f"{done.images} images in {escape(str(out))}{twice}{renamed}")


@store.command(cls=Command)
def leaks(
    folder: Annotated[Path, typer.Argument(metavar="STORE", help="Folder with metadata.jsonl.")],
    data: Annotated[str, typer.Option(help="The data whose test images must not be in the store, as for train.")],
    distance: Annotated[float, typer.Option(help="Images nearer than this are the same; see filters.leakage_distance.")] = 0.1,
    as_json: AsJson = False,
) -> None:
    """List stored images that are too near to a test image; exit code 1 if there are any, 0 if there are none."""
    from ..experiment.leaks import check_leaks

    found, images, tests = check_leaks(folder, data, distance)
    if as_json:
        show_json({"images": images, "test_images": tests, "leaks": [asdict(leak) for leak in found]})
        raise typer.Exit(bool(found))
    for leak in found:
        look = f" ({leak.look})" if leak.look else ""
        console.print(f"{escape(leak.key)} is the test image {escape(leak.test_key)}{look}, distance {leak.distance:.3f}")
    console.print(f"{len(found)} of {images} images in {escape(str(folder))} are too near to one of {tests} test images")
    if found:
        raise typer.Exit(1)


@store.command(cls=Command)
def export(
    folder: Annotated[Path, typer.Argument(metavar="STORE", help="Folder with metadata.jsonl.")],
    form: Annotated[str, typer.Option("--format", help="imagefolder, webdataset or parquet.")],
    out: Annotated[Path, typer.Option(help="Folder to make; it appears when complete.")],
    with_real: Annotated[str | None, typer.Option(metavar="DATA", help="Real images to put beside, as for train.")] = None,
    link: Annotated[bool, typer.Option("--link", help="imagefolder: hard links to the store instead of copies.")] = False,
    shard_size: Annotated[int, typer.Option(help="webdataset, parquet: MiB of images a file.", min=1)] = 500,
) -> None:
    """Write the images as a data set that other programs read; an image that is damaged is named and refused."""
    from ..experiment.export import export_store
    from .show import Bar

    with Bar(stderr, "exporting", None) as bar:
        generated, real = export_store(
            folder, out, form, with_real=with_real, link=link, shard_bytes=shard_size << 20, on_progress=bar.of
        )
    beside = f" and {real} real ones" if real else ""
    console.print(f"{generated} generated images{beside} in {escape(str(out))}")
