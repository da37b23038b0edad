"""Out-of-fold predictions: what models think of real images that they have not trained on, without giving any up.

The folds of the training images take turns as the hold-out of a model of their own (cross-fitting: Chernozhukov et al. 2018).
It costs `folds` short trainings before the real one, which no seconds of the statistics count; `RunState.proxies` has them.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..classifiers.mining import Mining
from ..classifiers.predictions import Predictions, predict
from ..core import files
from ..core.parallel import agreeing, ranks
from ..core.rng import derive, permutation
from ..data.datasets.imageset import ImageSet, Subset
from .callbacks import SILENT
from .epoch import train_epoch
from .learner import Learner
from .stages import Proxy
from .training import Training


def cross_fit(training: Training, mining: Mining) -> Predictions:
    """Return out-of-fold predictions of all real images; they are kept in the run's folder and read again from there.

    Notes what they cost.
    """
    path = training.folder / "checkpoints" / "crossfit.safetensors"
    labels = torch.tensor(list(training.real.labels))
    held = agreeing.of_first(partial(_held, path))
    if held is not None:
        training.state.proxies["cross-fit"] = Proxy(held[1], held[2])
        return Predictions(held[0], labels)
    began, steps = time.perf_counter(), 0
    logits = torch.zeros(len(labels), len(training.real.class_names))
    for number, (kept, out) in enumerate(folds(training.real, mining.folds, training.seed)):
        short, own = _trained(training, Subset(training.real, kept), mining.fold_epochs, number)
        steps += own
        logits[list(out)] = predict(short.learner.classifier, Subset(training.real, out)).logits_NK
    cost = Proxy(steps, time.perf_counter() - began)
    if ranks.is_first():
        facts = {"steps": str(steps), "seconds": str(cost.seconds)}
        files.write_bytes(path, save({"logits": logits}, metadata=facts))
    training.state.proxies["cross-fit"] = cost
    return Predictions(logits, labels)


def _held(path: Path) -> tuple[Tensor, int, float] | None:
    """Return the logits that were kept, the steps and seconds they took; None if they are not whole: made again, the same."""
    try:
        with safe_open(path, "pt") as file:
            facts = file.metadata()
            return file.get_tensor("logits"), int(facts["steps"]), float(facts["seconds"])
    except (OSError, SafetensorError, LookupError, TypeError, ValueError):
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


def _trained(training: Training, kept: ImageSet, epochs: int, number: int) -> tuple[Training, int]:
    """Return a short training on `kept`, done, and its steps; it starts from the weights of the real one."""
    short = Training(
        learner=Learner(
            classifier=copy.deepcopy(training.learner.classifier), options=replace(training.learner.options, epochs=epochs)
        ),
        real=kept,
        folder=training.folder,
        seed=derive(training.seed, "cross-fit", number),
    )
    with closing(short):
        steps = sum(train_epoch(short, epoch, short.mixture(epoch), SILENT.on_batch)[2] for epoch in range(epochs))
    return short, steps
