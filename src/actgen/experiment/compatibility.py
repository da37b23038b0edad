"""Settings of a recipe that cannot go together: told from the recipe alone, before anything is opened."""

from __future__ import annotations

from ..classifiers.mining import TRAINING
from ..core.errors import UserError
from ..core.text import brief
from ..diffusion.guides.image import GIVEN
from ..generation.strategies import create_strategy
from ..generation.strategies.base import BEFORE
from ..generation.strategies.none import RealOnly
from ..generation.strategies.oversample import Oversample
from ..training.parallel.background import CPU
from ..training.schedule import generating_epochs
from .config import Recipe


def check_compatible(recipe: Recipe, gpus: int) -> None:
    """Raise `UserError` if no run can be done by a recipe where there are so many GPUs."""
    if recipe.strategy == RealOnly.name:
        return
    _refuse_no_rounds(recipe)
    _refuse_choice(recipe)
    _refuse_device(recipe, gpus)
    _refuse_masks(recipe)


def _refuse_no_rounds(recipe: Recipe) -> None:
    epochs, generation = recipe.training.epochs, recipe.generation
    later = bool(generation.on)
    if generation.budget > 0 and generating_epochs(epochs, generation.until, later) == 0:
        never = "never after the last two: images of generation.on come an epoch later" if later else "never after the last"
        raise UserError(
            f"training.epochs = {epochs} with generation.until = {generation.until:g} leaves no epoch after which "
            f"images are generated ({never}). Give more epochs, a larger generation.until, or --budget 0."
        )


def _refuse_choice(recipe: Recipe) -> None:
    """Raise `UserError` where there would be nothing to choose from, or nobody to ask."""
    strategy = create_strategy(recipe.strategy)
    if recipe.selection.over(strategy.candidates).samples_per_request == 1:
        if recipe.selection.clip:
            raise UserError(
                f"selection.clip: {strategy.name} takes the first generated image of a request, so CLIP would not be asked. "
                "Give selection.samples_per_request=8, for example, or --strategy selective; filters.clip rejects what "
                "CLIP does not confirm."
            )
        return
    if strategy.name == Oversample.name:
        raise UserError(f"selection.samples_per_request: {strategy.name} generates nothing to choose from. Leave it out.")
    mining = recipe.mining.over(strategy.mining) if strategy.mining else None
    if strategy.when == BEFORE and (mining is None or mining.pool != TRAINING):
        pool = f", with mining.pool = {mining.pool}," if mining else ""
        raise UserError(
            f"selection.samples_per_request: {strategy.name}{pool} generates before the training, when no classifier can be "
            "asked. Give selection.samples_per_request=1, or mining.pool=training to a strategy that mines."
        )


def _refuse_masks(recipe: Recipe) -> None:
    """Raise `UserError` unless masks are given where they are asked for, and asked for where they are given."""
    round_classifier = recipe.sampling.image.mask
    if round_classifier == GIVEN and not recipe.masks:
        raise UserError(
            'sampling.image.mask = "given" needs masks. Give --masks DIR, a .npy file, or foreground for objects on black.'
        )
    if recipe.masks and round_classifier != GIVEN:
        raise UserError(
            f"masks = {brief(recipe.masks)} would not be used with sampling.image.mask = {brief(round_classifier)}. Set that "
            'to "given", or leave out the masks (masks = "").'
        )


def _refuse_device(recipe: Recipe, gpus: int) -> None:
    """Raise `UserError` if rounds cannot be generated on `generation.on` while the next epoch trains."""
    if not (on := recipe.generation.on):
        return
    strategy = create_strategy(recipe.strategy)
    if strategy.when == BEFORE or strategy.name == Oversample.name:
        why = "generates before the training" if strategy.when == BEFORE else "generates nothing new"
        raise UserError(
            f"generation.on = {on!r}: {strategy.name} {why}, so there is nothing to generate while it trains. Leave "
            "out generation.on (--generate-on)."
        )
    if on != CPU and int(on.partition(":")[2]) >= gpus:
        raise UserError(f"generation.on = {on!r}: a run here sees {gpus} GPUs (cuda:0 is the first). Give another, or cpu.")
