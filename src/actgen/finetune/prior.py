"""Prior preservation (DreamBooth, Ruiz et al. 2023): what the generator drew of the classes before it was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from PIL import Image

from ..core.errors import UserError
from ..core.prompts import worded
from ..core.rng import derive
from ..core.types import Progress, Snapshot
from ..data.store.store import Store
from ..data.store.stored import read_stored
from ..generation.sampler import ImageSampler
from ..generation.strategies.text_only import TextOnly


def generate_prior(sampler: ImageSampler, prompts: Mapping[str, str], count: int, folder: Path, seed: int) -> Iterator[int]:
    """Generate `count` images, balanced over the classes (name -> prompt), into the store `folder`, yielding how many are
    there.

    What is there already is not generated again. `UserError` if one is broken in every precision.
    """
    store = Store(folder)
    plan = TextOnly().plan([], list(prompts), count, Progress(epoch=0, epochs=1), derive(seed, "prior"))
    missing = [request for request in worded(plan, prompts) if request.key not in store]
    for done, sample in enumerate(sampler.generate(missing), start=count - len(missing) + 1):
        store.add(sample, {**sampler.facts, "regenerated": sample.regenerated})
        yield done
    if sampler.failed:
        first = sampler.failed[0]
        raise UserError(
            f"{len(sampler.failed)} images for --prior-preservation are broken in any precision (first: "
            f"{first.key}, {first.reason}). Check the generator, or leave the option out."
        )


@dataclass(frozen=True)
class PriorImages:
    """The images that `generate_prior` drew, as an `ImageSet`."""

    snapshot: Snapshot
    class_names: Sequence[str]

    @cached_property
    def labels(self) -> tuple[int, ...]:
        """The classes that were asked for."""
        return tuple(int(row["label"]) for row in self.snapshot.rows)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The keys in the store."""
        return tuple(str(row["key"]) for row in self.snapshot.rows)

    def image(self, index: int) -> Image.Image:
        """Return generated image `index`."""
        return read_stored(self.snapshot.folder, self.snapshot.rows[index])
