"""Out-of-fold predictions: what models think of real images that they have not trained on, without giving any up.

The folds of the training images take turns as the hold-out of a model of their own (cross-fitting: Chernozhukov et al. 2018).
It costs `folds` short trainings before the real one, which no seconds of the statistics count.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from ..classifiers.mining import Mining
from ..classifiers.predictions import Predictions, predict
from ..core import files
from ..core.parallel import agreeing, ranks
from ..core.rng import derive, permutation
from ..data.datasets.imageset import ImageSet, Subset
from .loop import train_epoch
from .state import Training


def cross_fit(training: Training, mining: Mining) -> Predictions:
    """Return out-of-fold predictions of all real images; they are kept in the run's folder and read again from there."""
    path = training.folder / "checkpoints" / "crossfit.safetensors"
    labels = torch.tensor(list(training.real.labels))
    held = agreeing.of_first(partial(_held, path))
    if held is not None:
        return Predictions(held, labels)
    logits = torch.zeros(len(labels), len(training.real.class_names))
    for number, (kept, out) in enumerate(folds(training.real, mining.folds, training.seed)):
        model = _trained(training, Subset(training.real, kept), mining.fold_epochs, number)
        logits[list(out)] = predict(model.classifier, Subset(training.real, out)).logits_NK
    if ranks.is_first():
        files.write_bytes(path, save({"logits": logits}))
    return Predictions(logits, labels)


def _held(path: Path) -> Tensor | None:
    """Return the logits that were kept; None if they are not there, or not whole: made again, the same."""
    try:
        logits: Tensor = load_file(path)["logits"]
        return logits
    except (OSError, SafetensorError, KeyError):
        return None


def folds(images: ImageSet, count: int, seed: int) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Yield (kept, held out) indices of every fold: the classes in equal parts, each image held out once."""
    fold_of = [0] * len(images.labels)
    for label, name in enumerate(images.class_names):
        members = [i for i, own in enumerate(images.labels) if own == label]
        for place, member in enumerate(permutation(len(members), seed, "fold", name)):
            fold_of[members[member]] = place % count
    for fold in range(count):
        out = tuple(i for i, own in enumerate(fold_of) if own == fold)
        yield tuple(i for i, own in enumerate(fold_of) if own != fold), out


def _trained(training: Training, kept: ImageSet, epochs: int, number: int) -> Training:
    """Return a short training on `kept`, done; it starts from the weights of the real one."""
    short = Training(
        classifier=copy.deepcopy(training.classifier),
        options=replace(training.options, epochs=epochs),
        real=kept,
        folder=training.folder,
        seed=derive(training.seed, "cross-fit", number),
    )
    for epoch in range(epochs):
        train_epoch(short, epoch, short.mixture(epoch), None)
    return short
