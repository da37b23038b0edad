"""`actgen generate`: class names -> a store of images drawn from text alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelerate import PartialState

from .data.imageset import ArrayImages
from .data.store import MANIFEST, Store
from .drawing import Artist
from .errors import UserError, refuse_file
from .recipe import Recipe
from .records import Progress, Request
from .runs import open_generator
from .strategies.text_only import TextOnly


def generate_from_text(recipe: Recipe, class_names: Sequence[str], count: int, out: Path) -> Iterator[int]:
    """Draw `count` images balanced over `class_names` into the store `out`, yielding how many are there.

    What is already in the store is not drawn again.
    """
    if not class_names:
        raise UserError("--classes is empty: give class names separated by commas, for example --classes 'coat,ankle boot'.")
    if twice := sorted({name for name in class_names if list(class_names).count(name) > 1}):
        raise UserError(f"--classes names {', '.join(twice)} more than once. Give each once; --count says how many images.")
    _refuse_other_folder(out)
    import numpy as np

    names = ArrayImages(np.zeros((0, 1, 1), dtype=np.uint8), (), tuple(class_names), ())
    artist = Artist(open_generator(recipe.generator, names, str(PartialState().device)), recipe.drawing)
    store = Store(out)
    requests = TextOnly().plan([], class_names, count, Progress(epoch=0, epochs=1), recipe.seed)
    facts = {"guidance": asdict(recipe.drawing), "generator": artist.backbone.name,
             "generator_hash": artist.backbone.weights_hash, "classifier_accuracy": None, "guide_probability": None,
             "probability": None}  # fmt: skip
    missing = _missing(store, requests, facts)
    done = count - len(missing)
    for sample in artist.draw(missing):
        store.add(sample, {**facts, "seconds": round(sample.seconds, 4)})
        done += 1
        yield done


def _missing(store: Store, requests: Sequence[Request], facts: dict[str, Any]) -> list[Request]:
    """Return the requests that are not drawn yet; `UserError` if one was drawn in another way."""
    there = {row["key"]: row for row in store.snapshot().rows}
    for request in requests:
        row = there.get(request.key)
        if row is None:
            continue
        wanted = {"seed": request.seed, "prompt": request.prompt, "guidance": facts["guidance"],
                  "generator_hash": facts["generator_hash"]}  # fmt: skip
        if other := [key for key, value in wanted.items() if row.get(key) != value]:
            raise UserError(f"--out {store.folder} holds images drawn with another {', '.join(other)}. Choose another "
                            "--out, or give the same settings to continue it.")  # fmt: skip
    return [request for request in requests if request.key not in there]


def _refuse_other_folder(out: Path) -> None:
    refuse_file(out)
    if out.is_dir() and not (out / MANIFEST).exists() and {path.name for path in out.iterdir()} - {"images"}:
        raise UserError(f"--out {out} is not empty and holds no store. Give a new or empty folder.")
