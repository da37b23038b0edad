"""`actgen generate`: class names -> a store of images drawn from text alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from .data.imageset import ArrayImages
from .data.store import Store
from .drawing import Artist
from .errors import UserError
from .recipe import Recipe
from .records import Progress
from .runs import open_generator
from .strategies.text_only import TextOnly


def generate_from_text(recipe: Recipe, class_names: Sequence[str], count: int, out: Path) -> Iterator[int]:
    """Draw `count` images balanced over `class_names` into the store `out`, yielding how many are there.

    What is already in the store is not drawn again.
    """
    if not class_names:
        raise UserError("--classes is empty: give class names separated by commas, for example --classes 'coat,ankle boot'.")
    import numpy as np

    names = ArrayImages(np.zeros((0, 1, 1), dtype=np.uint8), (), tuple(class_names), ())
    artist = Artist(open_generator(recipe.generator, names), recipe.drawing)
    store = Store(out)
    there = {row["key"] for row in store.snapshot().rows}
    requests = TextOnly().plan([], class_names, count, Progress(epoch=0, epochs=1), recipe.seed)
    missing = [request for request in requests if request.key not in there]
    facts = {"guidance": asdict(recipe.drawing), "generator": artist.backbone.name,
             "generator_hash": artist.backbone.weights_hash, "classifier_accuracy": None, "guide_probability": None,
             "probability": None}  # fmt: skip
    done = count - len(missing)
    for sample in artist.draw(missing):
        store.add(sample, {**facts, "seconds": round(sample.seconds, 4)})
        done += 1
        yield done
