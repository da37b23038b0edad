"""The moving parts of a training, and their state on disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from ..classify.classifier import Classifier
from ..data.imageset import ImageSet, Subset, to_pixels
from ..data.mixture import CACHE_BYTES, Mixture
from ..records import Snapshot
from ..synthesis import Round
from . import checkpoint
from .augment import Augmentation
from .schedule import generating_epochs, round_budgets


@dataclass(frozen=True, kw_only=True)
class Hyper:
    """What the loop needs of a recipe (see `recipe.Training` and `recipe.Generation`)."""

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup: float
    label_smoothing: float
    epoch_length: str
    test_every: int
    workers: int
    augment: Augmentation
    budget_images: int
    until: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class EpochStats:
    """One epoch; accuracies in percent, times in seconds, `optimizer_steps` since the start."""

    epoch: int
    train_loss: float
    learning_rate: float
    test_accuracy: float | None
    holdout_accuracy: float | None
    per_class: dict[str, float] | None
    real_images: int
    synthetic_images: int
    optimizer_steps: int
    train_seconds: float
    generation_seconds: float


@dataclass
class Training:
    """The moving parts of a run: classifier, optimiser, round and data; `fit` drives them."""

    classifier: Classifier
    hyper: Hyper
    real: ImageSet
    held_out: ImageSet | None
    test: ImageSet | None
    round: Round | None
    folder: Path
    stats: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.accelerator = Accelerator()
        hyper = self.hyper
        optimizer = torch.optim.SGD(self.classifier.parameters(), lr=hyper.learning_rate, momentum=0.9, nesterov=True,
                                    weight_decay=hyper.weight_decay)  # fmt: skip
        self.model, self.optimizer = self.accelerator.prepare(self.classifier, optimizer)
        self.total_real = len(self.real.labels)
        self.generating = generating_epochs(hyper.epochs, hyper.until) if self.round is not None else 0
        self.budgets = round_budgets(hyper.budget_images, self.generating)
        self.snapshot = Snapshot(folder=".", rows=())
        self._pixels: dict[str, Tensor] = {}

    @property
    def start(self) -> int:
        """The next epoch."""
        return len(self.stats)

    def mixture(self, epoch: int) -> Mixture:
        """Return what an epoch trains on: the held-out images join when the last round of generation is over."""
        away = set(self.held_out.keys) if self.held_out is not None and epoch < self.generating else set()
        rows = tuple(i for i, key in enumerate(self.real.keys) if key not in away)
        size = self.classifier.image_size
        fits = self.total_real * 3 * size * size <= CACHE_BYTES
        cache = self.cached("real", self.real)[list(rows)] if fits else None
        return Mixture(Subset(self.real, rows), self.snapshot, size=size, cache=cache)

    def cached(self, name: str, images: ImageSet) -> Tensor:
        """Decode a set of images once."""
        if name not in self._pixels:
            self._pixels[name] = to_pixels(images, self.classifier.image_size)
        return self._pixels[name]


def save(training: Training) -> None:
    """Write checkpoint and statistics after an epoch."""
    state = {
        "model": training.classifier.state_dict(), "optimizer": training.optimizer.state_dict(), "stats": training.stats,
        "images": len(training.snapshot), "bank": training.round.artist.bank.state_dict() if training.round else {},
    }  # fmt: skip
    checkpoint.save(training.folder / "checkpoints" / "last.pt", state)
    checkpoint.write_lines(training.folder / "stats.jsonl", training.stats)


def restore(training: Training) -> None:
    """Continue from the checkpoint, if there is one."""
    path = training.folder / "checkpoints" / "last.pt"
    state = checkpoint.load(path)
    if state is None:
        return
    try:
        _restore(training, state)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise checkpoint.damaged(path) from error
    checkpoint.write_lines(training.folder / "stats.jsonl", training.stats)  # a stop may have come between the two files


def _restore(training: Training, state: dict[str, Any]) -> None:
    training.classifier.load_state_dict(state["model"])
    training.optimizer.load_state_dict(state["optimizer"])
    training.stats = state["stats"]
    if training.round is not None:
        training.round.artist.bank.load_state_dict(state["bank"])
        rows = training.round.store.snapshot()
        training.snapshot = Snapshot(folder=rows.folder, rows=rows.rows[: state["images"]])
