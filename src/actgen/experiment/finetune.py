"""What `actgen finetune` is asked for becomes a training: from nothing, of LoRA weights, or of all weights of a generator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.assets import BUNDLED, bundled_generator
from ..core.errors import UserError
from ..core.text import brief
from ..data.datasets.imageset import ImageSet, Renamed
from ..finetune.adapt import Adaptation, adapt
from ..finetune.options import AdaptOptions, LoraOptions
from ..finetune.scratch import ScratchProgress, from_scratch
from .config import build_recipe

SCRATCH, LORA, FULL = "--from-scratch", "--lora", "--full"
_SET = ("prompts", "sampling", "generation.preset")
_NUMBERS = (
    "batch_size",
    "learning_rate",
    "resolution",
    "ema",
    "precision",
    "gradient_checkpointing",
    "prior_preservation",
    "prior_images",
    "caption_dropout",
    "min_snr",
    "sample_every",
)
_MATRICES = ("rank", "alpha", "text_encoder")
_OWN = ("autoencoder_steps", "compile")
_INCOMPATIBLE = {SCRATCH: (*_NUMBERS, *_MATRICES, "generator", "set"), LORA: _OWN, FULL: (*_OWN, *_MATRICES)}
"""The options that cannot go with a way."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was asked for: `limit` of the images of `data`, and the `options` that were given, by the names of their flags."""

    data: str
    limit: int
    out: Path
    seed: int
    options: Mapping[str, Any]

    @property
    def way(self) -> str:
        """SCRATCH, LORA or FULL; `UserError` unless it is exactly one."""
        given = [way for way in _INCOMPATIBLE if _name(way) in self.options]
        if len(given) != 1:
            raise UserError(
                f"finetune was given {' and '.join(given) or 'none'} of --from-scratch, --lora and --full. Give "
                "exactly one; `actgen finetune --help` shows all three."
            )
        return given[0]

    def some(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Return those of these options that were given."""
        return {name: self.options[name] for name in names if name in self.options}


def open_training(round_classifier: Asked, images: Callable[[], ImageSet]) -> Iterator[ScratchProgress]:
    """Return the training, a `ScratchProgress` a step; `images` loads what it is on, when all else is found to fit."""
    way = round_classifier.way
    if unfit := [f"--{name.replace('_', '-')}" for name in round_classifier.some(_INCOMPATIBLE[way])]:
        raise UserError(
            f"{', '.join(unfit)} cannot go with {way}. Leave it out; `actgen finetune --help` says what goes with it."
        )
    return _scratch(round_classifier, images) if way == SCRATCH else _adapted(round_classifier, images)


def _scratch(round_classifier: Asked, images: Callable[[], ImageSet]) -> Iterator[ScratchProgress]:
    return from_scratch(
        images(),
        round_classifier.out,
        architecture=round_classifier.options[_name(SCRATCH)],
        seed=round_classifier.seed,
        **round_classifier.some(("steps", *_OWN)),
        source=f"{round_classifier.data} --images {round_classifier.limit}"
        if round_classifier.limit
        else round_classifier.data,
    )


def _adapted(round_classifier: Asked, images: Callable[[], ImageSet]) -> Iterator[ScratchProgress]:
    way, settings = round_classifier.way, round_classifier.options.get("set", [])
    if (generator := round_classifier.options.get("generator")) is None:
        raise UserError(f"{way} needs --generator: a diffusers folder, a hub id, or bundled.")
    if odd := [one for one in settings if not one.strip().startswith(_SET)]:
        raise UserError(f"--set {brief(odd[0])} is not for finetune, which reads {', '.join(_SET)} of a recipe. Leave it out.")
    lora = LoraOptions(**round_classifier.some(_MATRICES)) if way == LORA else None
    options = AdaptOptions(lora=lora, seed=round_classifier.seed, **round_classifier.some(("steps", *_NUMBERS)))
    recipe = build_recipe(None, settings, {"generator": generator})
    given = images()
    if recipe.prompts.vary:
        raise UserError(
            "prompts.templates and prompts.attributes are for generating: finetune tells the generator one prompt "
            "a class. Give prompts.template and prompts.classes."
        )
    names, prompts = recipe.prompts.names(given.class_names), recipe.prompts.of(given.class_names)
    return adapt(
        Adaptation(
            images=Renamed(given, names),
            prompts=prompts,
            out=round_classifier.out,
            options=options,
            sampling=recipe.sampling,
            name=generator,
            generator=str(bundled_generator()) if generator == BUNDLED else generator,
            data=round_classifier.data,
            limit=round_classifier.limit,
            settings=settings,
        )
    )


def _name(way: str) -> str:
    """Return the name of an option by its flag."""
    return way.removeprefix("--").replace("-", "_")
