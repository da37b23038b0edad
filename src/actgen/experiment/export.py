"""`actgen store export`: a store, and the real images that it was generated for, handed to the formats in `data/exporting`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ..core.errors import UserError
from ..data.datasets.evaluation import TEST
from ..data.datasets.sources import RealData, load_data
from ..data.export import Split, export
from ..data.store.store import Store, refuse_no_store
from .build import open_data
from .config import read_recipe_of

OnProgress = Callable[[int, int], None]


def export_store(
    folder: Path,
    out: Path,
    form: str,
    *,
    with_real: str | None = None,
    link: bool = False,
    shard_bytes: int = 500 << 20,
    on_progress: OnProgress | None = None,
) -> tuple[int, int]:
    """Export what is committed in the store `folder`; return how many images of it and how many real ones are in `out`.

    `with_real` (as for --data): its training images go with those of the store, its test images into a split of their own. Of
    a store in a run's folder they are the images that the run trained and measured on, and called as its recipe calls them.
    """
    refuse_no_store(folder)
    if out.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"--out {out} is inside the store, which holds generated images only. Give a folder outside of it.")
    generated = Store(folder).snapshot()
    if not len(generated):
        raise UserError(f"{folder} holds no images yet. Export it when some are generated.")
    if with_real is None:
        splits, names = [Split(name="train", generated=generated)], None
    else:
        real, measured = _real(folder, with_real)
        splits, names = [Split(name="train", generated=generated, real=real.train)], real.train.class_names
        if real.test is not None:
            splits.append(Split(name=measured, real=real.test))
    total = sum(map(len, splits))
    export(
        splits,
        out,
        form,
        class_names=names,
        link=link,
        shard_bytes=shard_bytes,
        on_progress=None if on_progress is None else lambda done: on_progress(done, total),
    )
    return len(generated), total - len(generated)


def _real(folder: Path, spec: str) -> tuple[RealData, str]:
    """Return the real images, and what is measured on them: "test" or "validation"."""
    if not (folder.parent / "recipe.toml").is_file():
        return load_data(spec), TEST
    run = read_recipe_of(folder.parent)
    return open_data(replace(run, data=spec)), run.evaluation.on
