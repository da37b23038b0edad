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
from ..finetune.scratch import Progress, from_scratch
from .config import build_recipe

SCRATCH, LORA, FULL = "--from-scratch", "--lora", "--full"
_SET = ("prompts", "drawing", "generation.preset")
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
_UNFIT = {SCRATCH: (*_NUMBERS, *_MATRICES, "generator", "set"), LORA: _OWN, FULL: (*_OWN, *_MATRICES)}
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
        given = [way for way in _UNFIT if _name(way) in self.options]
        if len(given) != 1:
            raise UserError(
                f"finetune was given {' and '.join(given) or 'none'} of --from-scratch, --lora and --full. Give "
                "exactly one; `actgen finetune --help` shows all three."
            )
        return given[0]

    def some(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Return those of these options that were given."""
        return {name: self.options[name] for name in names if name in self.options}


def open_training(asked: Asked, images: Callable[[], ImageSet]) -> Iterator[Progress]:
    """Return the training, a `Progress` a step; `images` loads what it is on, when all else is found to fit."""
    way = asked.way
    if unfit := [f"--{name.replace('_', '-')}" for name in asked.some(_UNFIT[way])]:
        raise UserError(
            f"{', '.join(unfit)} cannot go with {way}. Leave it out; `actgen finetune --help` says what goes with it."
        )
    return _scratch(asked, images) if way == SCRATCH else _adapted(asked, images)


def _scratch(asked: Asked, images: Callable[[], ImageSet]) -> Iterator[Progress]:
    return from_scratch(
        images(),
        asked.out,
        architecture=asked.options[_name(SCRATCH)],
        seed=asked.seed,
        **asked.some(("steps", *_OWN)),
        source=f"{asked.data} --images {asked.limit}" if asked.limit else asked.data,
    )


def _adapted(asked: Asked, images: Callable[[], ImageSet]) -> Iterator[Progress]:
    way, settings = asked.way, asked.options.get("set", [])
    if (generator := asked.options.get("generator")) is None:
        raise UserError(f"{way} needs --generator: a diffusers folder, a hub id, or bundled.")
    if odd := [one for one in settings if not one.strip().startswith(_SET)]:
        raise UserError(f"--set {brief(odd[0])} is not for finetune, which reads {', '.join(_SET)} of a recipe. Leave it out.")
    lora = LoraOptions(**asked.some(_MATRICES)) if way == LORA else None
    options = AdaptOptions(lora=lora, seed=asked.seed, **asked.some(("steps", *_NUMBERS)))
    recipe = build_recipe(None, settings, {"generator": generator})
    given = images()
    names, prompts = recipe.prompts.names(given.class_names), recipe.prompts.of(given.class_names)
    return adapt(
        Adaptation(
            images=Renamed(given, names),
            prompts=prompts,
            out=asked.out,
            options=options,
            drawing=recipe.drawing,
            name=generator,
            generator=str(bundled_generator()) if generator == BUNDLED else generator,
            data=asked.data,
            limit=asked.limit,
            settings=settings,
        )
    )


def _name(way: str) -> str:
    """Return the name of an option by its flag."""
    return way.removeprefix("--").replace("-", "_")
