"""`actgen generate`: class names -> a store of images generated from text alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from accelerate import PartialState

from ..core.errors import RunFailure, UserError
from ..core.lock import locked, refuse_in_use
from ..core.prompts import worded
from ..core.text import brief, is_storable, visible
from ..core.types import Progress, Request
from ..data.store.store import Store, refuse_other_folder
from ..generation.images_server import ServedSampler, is_server
from ..generation.sampler import ImageSampler, Sampler
from ..generation.strategies.text_only import TextOnly
from ..generation.told_apart import check_prompts
from .build import open_generator, open_served
from .config import Recipe


def generate_from_text(recipe: Recipe, class_names: Sequence[str], count: int, out: Path) -> Iterator[int]:
    """Generate `count` images balanced over `class_names` into the store `out`, yielding how many are there.

    What is already in the store is not generated again.
    """
    if not class_names:
        raise UserError("--classes is empty: give class names separated by commas, for example --classes 'coat,ankle boot'.")
    if odd := [name for name in class_names if not is_storable(name)]:
        raise UserError(f"--classes names {brief(odd[0])}, which is not UTF-8 text. Give class names in UTF-8.")
    if twice := sorted({name for name in class_names if list(class_names).count(name) > 1}):
        raise UserError(
            f"--classes names {', '.join(map(visible, twice))} more than once. Give each once; --count says how many images."
        )
    refuse_other_folder(out)
    device = str(PartialState().device)
    names = recipe.prompts.names(class_names)
    sampler: ImageSampler | ServedSampler
    if is_server(recipe.generator):
        sampler = open_served(recipe)
    else:
        sampler = ImageSampler(open_generator(recipe.generator, names, device, recipe.loading), recipe.sampling)
        check_prompts(sampler.adapter, recipe.prompts.variants(class_names))
    refuse_in_use(out)
    requests = worded(
        TextOnly().plan([], names, count, Progress(epoch=0, epochs=1), recipe.seed), recipe.prompts.variants(class_names)
    )
    with locked(out):
        yield from generate_missing(sampler, requests, Store(out))
    if failed := sampler.failed:
        raise RunFailure(
            f"{len(failed)} of {len(requests)} images are broken in any precision and were not kept (first: "
            f"{failed[0].key}, {failed[0].reason}). Check the generator's weights and sampling.scheduler; the "
            "same command tries them again."
        )


def generate_missing(sampler: Sampler, requests: Sequence[Request], store: Store) -> Iterator[int]:
    """Generate what `store` lacks of `requests` into it, yielding how many are there; `sampler.failed` names those that broke.

    `UserError` if some of them were generated in another way.
    """
    facts = {
        "guidance": asdict(sampler.sampling),
        **sampler.facts,
        "classifier_accuracy": None,
        "guide_probability": None,
        "probability": None,
    }
    missing = _missing(store, requests, facts)
    done = len(requests) - len(missing)
    for sample in sampler.generate(missing):
        store.add(sample, {**facts, "regenerated": sample.regenerated, "seconds": round(sample.seconds, 4)})
        done += 1
        yield done


def _missing(store: Store, requests: Sequence[Request], facts: dict[str, object]) -> list[Request]:
    """Return the requests that are not generated yet; `UserError` if one was generated in another way."""
    for request in requests:
        if (row := store.manifest.row(request.key)) is None:
            continue
        wanted = {
            "seed": request.seed,
            "prompt": request.prompt,
            "guidance": facts["guidance"],
            "generator_hash": facts["generator_hash"],
            "loading": facts["loading"],
        }
        if other := [key for key, value in wanted.items() if row.get(key) != value]:
            raise UserError(
                f"--out {store.folder} holds images generated with another {', '.join(other)}. Choose another "
                "--out, or give the same settings to continue it."
            )
    return [request for request in requests if request.key not in store]
