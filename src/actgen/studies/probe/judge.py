"""The classifier that looks at generated images: of a finished run, or trained for a short time on real images."""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from accelerate import PartialState
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ...classifiers.classifier import Classifier
from ...classifiers.predictions import describe_pixels, predict_pixels
from ...core.errors import UserError
from ...core.text import first_line
from ...data.datasets.evaluation import VALIDATION, Evaluation
from ...data.datasets.imageset import ImageSet, to_pixels
from ...data.datasets.sources import RealData
from ...experiment.build import open_classifier
from ...experiment.config import Recipe, build_recipe, read_recipe_of
from ...experiment.run import run
from ...report.values import as_object, read_object
from ...training.callbacks import Callbacks
from .candidates import OF_CLASSIFIER

STEPS = 400
"""Optimiser steps of a short training, unless `training.epochs` is given."""
WEIGHTS = "classifier.safetensors"
_TOGETHER = 1000


@dataclass(frozen=True)
class Seen:
    """What a classifier makes of N images: `features_ND` before its last layer, `predicted_N` classes."""

    features_ND: Tensor
    predicted_N: Tensor


def look(classifier: Classifier, images: ImageSet) -> Seen:
    """Return what the classifier makes of `images`; one or more."""
    total, features, predicted = len(images.labels), [], []
    for start in range(0, total, _TOGETHER):
        pixels = to_pixels(images, classifier.image_size, range(start, min(start + _TOGETHER, total)))
        features.append(describe_pixels(classifier, pixels))
        predicted.append(predict_pixels(classifier, pixels).argmax(dim=1))
    return Seen(torch.cat(features), torch.cat(predicted))


def right(seen: Seen, labels: Sequence[int]) -> tuple[bool, ...]:
    """Return for each image whether its class was recognised."""
    return tuple((seen.predicted_N == torch.tensor(list(labels))).tolist())


@dataclass(frozen=True, kw_only=True)
class JudgeTraining:
    """How classifiers are trained in a probe: for `STEPS` optimiser steps, or for the recipe's epochs if `epochs_given`."""

    recipe: Recipe
    epochs_given: bool

    def check(self, images: ImageSet) -> None:
        """Raise `UserError` if no such classifier can be made for `images`."""
        open_classifier(self.recipe, images)

    def train(self, images: ImageSet, held: ImageSet, folder: Path, on_progress: Callable[[int, int], None]) -> Classifier:
        """Train on `images` in `folder` and return the classifier; a finished training is only read, a stopped one continued.

        `on_progress` hears of every epoch: how many are done, and of how many. `held` is what its run measures itself on.
        """
        recipe = self._for(len(images.labels))
        run(
            recipe,
            folder,
            data=RealData(recipe.data, images, held),
            page=False,
            callbacks=Callbacks(on_epoch=lambda stats: on_progress(stats.epoch + 1, recipe.training.epochs)),
        )
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)  # a finished run is not continued
        return _with_weights(open_classifier(_bare(recipe), images), folder / WEIGHTS)

    def _for(self, images: int) -> Recipe:
        if self.epochs_given:
            return self.recipe
        epochs = math.ceil(STEPS / math.ceil(images / self.recipe.training.batch_size))
        return replace(self.recipe, training=replace(self.recipe.training, epochs=epochs, test_every=epochs))


def make_learner(data: str, settings: Sequence[str], model: str | None, seed: int) -> JudgeTraining:
    """Return how to train by those of `settings` ("a.b=c") that are about a classifier."""
    own = [one for one in settings if one.startswith(OF_CLASSIFIER)]
    given = any(one.partition("=")[0].strip() == "training.epochs" for one in own)
    recipe = build_recipe(None, own, {"data": data, "model.name": model, "strategy": "none", "seed": seed})
    recipe = replace(recipe, evaluation=Evaluation(on=VALIDATION))
    if given:
        recipe = replace(recipe, training=replace(recipe.training, test_every=recipe.training.epochs))
    return JudgeTraining(recipe=recipe, epochs_given=given)


def open_given(folder: Path, images: ImageSet) -> Classifier:
    """Return the classifier of a finished run; `UserError` if there is none, or one for other classes."""
    refuse_unfinished(folder)
    recipe = read_recipe_of(folder)
    known = as_object(read_object(folder / "summary.json").get("per_class"))
    called = recipe.prompts.names(images.class_names)
    if known and set(known) != set(called):
        raise UserError(
            f"--classifier {folder} knows other classes than the data ({', '.join(list(known)[:4])}, ...). Give a "
            "run on these data, or leave it out to train one here."
        )
    try:
        return _with_weights(open_classifier(_bare(recipe), images), folder / WEIGHTS)
    except (SafetensorError, RuntimeError) as error:
        raise UserError(
            f"--classifier {folder}: {WEIGHTS} does not fit its recipe and the classes of the data "
            f"({first_line(error)}). Give the folder of a whole run on these data."
        ) from error


def refuse_unfinished(folder: Path) -> None:
    """Raise `UserError` if `folder` holds no classifier of a finished run."""
    if not all((folder / name).is_file() for name in ("recipe.toml", WEIGHTS)):
        raise UserError(
            f"--classifier {folder} holds no recipe.toml and {WEIGHTS}, so it is no finished run. Give the --out "
            "of a finished `actgen train`, or leave it out to train one here."
        )


def digest(path: Path) -> str:
    """Return sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _bare(recipe: Recipe) -> Recipe:
    """Return the recipe without weights to start from: others follow."""
    return replace(recipe, model=replace(recipe.model, pretrained=False, checkpoint=""))


def _with_weights(classifier: Classifier, path: Path) -> Classifier:
    classifier.load_state_dict(load_file(path))
    return classifier.to(PartialState().device).eval()
