"""What a run has understood of what it was given, before it trains: classes, splits, what is left out, prompts, generator."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from torch import nn

from ..core.prompts import Prompts
from ..data.datasets.account import Reason, by_reason
from ..data.datasets.imageset import ImageSet
from ..data.datasets.sources import RealData
from ..diffusion.licence import licence_of
from ..diffusion.pipeline import PipelineAdapter
from ..generation.sampler import ImageSampler
from ..training.training import Training
from .config import Recipe

LOOKED_AT = 32
"""Images of a split whose sizes are looked at, evenly spaced."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Width and height of the smallest, the middle and the largest of the images that were looked at."""

    smallest: tuple[int, int]
    median: tuple[int, int]
    largest: tuple[int, int]
    looked_at: int


@dataclass(frozen=True, kw_only=True)
class SplitSeen:
    """The images of a split, by class."""

    name: str
    images: int
    classes: Mapping[str, int]
    sizes: Sizes


@dataclass(frozen=True, kw_only=True)
class PromptsSeen:
    """How many prompts there are; the first one, the shortest and the longest."""

    count: int
    first: str
    shortest: str
    longest: str


@dataclass(frozen=True, kw_only=True)
class GeneratorSeen:
    """A generator and its parts: "unet" -> its class and millions of parameters; what LoRA and licence it has."""

    name: str
    pipeline: str
    parts: Mapping[str, str]
    image_size: int
    lora: str
    licence: str


@dataclass(frozen=True, kw_only=True)
class Understood:
    """Everything at once; `generator` is None where none is used."""

    data: str
    splits: tuple[SplitSeen, ...]
    notes: tuple[str, ...]
    left_out: tuple[Reason, ...]
    prompts: PromptsSeen
    generator: GeneratorSeen | None = None

    def to_json(self) -> dict[str, object]:
        """Return it as JSON has it."""
        return asdict(self)


def understand(recipe: Recipe, data: RealData, adapter: PipelineAdapter | None = None) -> Understood:
    """Return what was understood of the data, as `open_data` returned it, and of the generator."""
    measured = recipe.evaluation.on if data.test is not data.validation else "validation"
    parts = [("train", data.train), (measured, data.test)]
    if data.validation is not None and data.test is not data.validation:
        parts.append(("validation (not used)", data.validation))
    bad = (Reason(reason="cannot be used", count=len(data.left_out), first=data.left_out[0]),) if data.left_out else ()
    return Understood(
        data=data.spec,
        splits=tuple(_split(name, images) for name, images in parts if images is not None),
        notes=(*((data.note,) if data.note else ()), *data.notes, *_about_names(recipe, data)),
        left_out=(*bad, *by_reason(data.unused)),
        prompts=_prompts(data, recipe.prompts),
        generator=None if adapter is None else _generator(adapter),
    )


def adapter_of(training: Training) -> PipelineAdapter | None:
    """Return the generator of a run, None if it opens none here."""
    sampler: object = None if training.round is None else training.round.sampler
    while not isinstance(sampler, ImageSampler | None):
        sampler = getattr(sampler, "sampler", None)
    return None if sampler is None else sampler.adapter


def _split(name: str, images: ImageSet) -> SplitSeen:
    counts = Counter(images.labels)
    return SplitSeen(
        name=name,
        images=len(images.labels),
        classes={called: counts[label] for label, called in enumerate(images.class_names)},
        sizes=_sizes(images),
    )


def _sizes(images: ImageSet) -> Sizes:
    count = len(images.labels)
    some = min(LOOKED_AT, count)
    places = sorted({round(place * (count - 1) / max(1, some - 1)) for place in range(some)})
    sizes = sorted((images.image(place).size for place in places), key=lambda size: (size[0] * size[1], size))
    middle = statistics.median_low(range(len(sizes)))
    return Sizes(smallest=sizes[0], median=sizes[middle], largest=sizes[-1], looked_at=len(sizes))


def _prompts(data: RealData, prompts: Prompts) -> PromptsSeen:
    variants = data.variants or prompts.variants(data.train.class_names)
    told = [prompt for texts in variants.values() for prompt in texts]
    return PromptsSeen(count=len(told), first=told[0], shortest=min(told, key=len), longest=max(told, key=len))


def _about_names(recipe: Recipe, data: RealData) -> list[str]:
    """Return what a generator would make of the names of the classes, where that is not what is meant."""
    names = data.train.class_names
    numbers = [name for name in names if name.isdigit() and name not in recipe.prompts.classes]
    notes = []
    if numbers and data.variants:
        notes.append(
            f"{len(numbers)} classes are called by numbers: a generator is told {data.variants[numbers[0]][0]!r}. Say in "
            "[prompts.classes] what they show"
        )
    folded: dict[str, str] = {}
    for name in names:
        if (other := folded.setdefault(name.casefold(), name)) != name:
            notes.append(f"the classes {other!r} and {name!r} differ in case only: are they one class?")
    return notes


def _generator(adapter: PipelineAdapter) -> GeneratorSeen:
    pipeline = adapter.pipeline
    parts = {name: _described(part) for name, part in pipeline.components.items() if part is not None}
    return GeneratorSeen(
        name=adapter.name,
        pipeline=type(pipeline).__name__,
        parts=parts,
        image_size=adapter.image_size,
        lora=_lora(adapter),
        licence=licence_of(adapter.name),
    )


def _lora(adapter: PipelineAdapter) -> str:
    """Return the LoRA file and on how many layers it lies."""
    layers = sum(".lora_A." in name for network in adapter.networks for name, _ in network.named_parameters())
    return f"{adapter.loading.lora} on {layers} layers" if layers else ""


def _described(part: object) -> str:
    if isinstance(part, nn.Module):
        return f"{type(part).__name__}, {sum(one.numel() for one in part.parameters()) / 1e6:.1f} million parameters"
    return type(part).__name__
