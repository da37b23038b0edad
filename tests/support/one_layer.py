"""A training of a model of one layer, on pictures of noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from actgen.classifiers.classifier import Classifier
from actgen.core.types import Snapshot
from actgen.data.datasets.imageset import ArrayImages
from actgen.data.store.store import Store
from actgen.training.learner import Learner
from actgen.training.options import TrainingOptions
from actgen.training.training import Training
from tests.conftest import make_sample

OPTIONS = TrainingOptions(epochs=3, batch_size=8, learning_rate=0.05)


def pictures(count: int = 16, shift: int = 0) -> ArrayImages:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    labels = tuple((number + shift) % 2 for number in range(count))
    return ArrayImages(pixels, labels, ("coat", "bag"), tuple(f"train/{number}" for number in range(count)))


def opened(folder: Path, options: TrainingOptions = OPTIONS, real: ArrayImages | None = None) -> Training:
    """Return a training of a model with dropout, of the same first weights every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(3 * 8 * 8, 2))
    classifier = Classifier(model, 8, (0.5,) * 3, (0.5,) * 3)
    return Training(
        learner=Learner(classifier=classifier, options=options), real=real or pictures(), test=pictures(6), folder=folder
    )


def weights(training: Training) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in training.learner.classifier.parameters()])


def grown(folder: Path) -> Snapshot:
    store = Store(folder)
    for number in range(32):
        store.add(make_sample(f"k{number}", shade=number, label=number % 2), {})
    return store.snapshot()
