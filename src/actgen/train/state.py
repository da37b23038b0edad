"""The moving parts of a training, and their state on disk."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from .. import checkpoint
from ..classify.classifier import Classifier
from ..data.imageset import ImageSet, Subset, to_pixels
from ..data.mixture import CACHE_BYTES, Mixture
from ..errors import UserError
from ..records import Snapshot
from ..synthesis import Round
from .microbatch import MicroBatches
from .options import TrainingOptions
from .schedule import generating_epochs, round_budgets


@dataclass(frozen=True, kw_only=True)
class EpochStats:
    """One epoch; accuracies in percent, times in seconds, `optimizer_steps` since the start.

    `refused`: requests of this epoch's round that gave no picture in any precision, with the reason.
    """

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
    refused: list[dict[str, str]]


@dataclass(kw_only=True)
class Training:
    """The moving parts of a run: classifier, optimiser, round and data; `fit` drives them.

    `budget` images are to be drawn in all, in the first part `until` of the epochs. `left_out`: image files of the data that
    could not be used.
    """

    classifier: Classifier
    options: TrainingOptions
    real: ImageSet
    folder: Path
    held_out: ImageSet | None = None
    test: ImageSet | None = None
    round: Round | None = None
    budget: int = 0
    until: float = 0.5
    seed: int = 0
    left_out: tuple[str, ...] = ()
    stats: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.accelerator = Accelerator(mixed_precision="no")
        options = self.options
        optimizer = torch.optim.SGD(self.classifier.parameters(), lr=options.learning_rate, momentum=0.9, nesterov=True,
                                    weight_decay=options.weight_decay)  # fmt: skip
        self.model, self.optimizer = self.accelerator.prepare(self.classifier, optimizer)
        self.total_real = len(self.real.labels)
        self.generating = generating_epochs(options.epochs, self.until) if self.round is not None else 0
        self.budgets = round_budgets(self.budget, self.generating)
        self.micro_batches = MicroBatches()
        self.snapshot = Snapshot(folder=".", rows=())
        self._pixels: dict[str, Tensor] = {}

    @property
    def start(self) -> int:
        """The next epoch."""
        return len(self.stats)

    @cached_property
    def inputs(self) -> dict[str, str]:
        """What has to stay the same while a run is stopped, besides its recipe: digests by name."""
        images = json.dumps([list(self.real.class_names), list(self.real.keys), list(self.real.labels)])
        return {
            "generator": "" if self.round is None else self.round.artist.backbone.weights_hash,
            "training images": hashlib.sha256(images.encode()).hexdigest(),
        }

    def real_rows(self, epoch: int) -> tuple[int, ...]:
        """Return the real images of an epoch: the held-out ones join when the last round of generation is over."""
        away = set(self.held_out.keys) if self.held_out is not None and epoch < self.generating else set()
        return tuple(i for i, key in enumerate(self.real.keys) if key not in away)

    def mixture(self, epoch: int) -> Mixture:
        """Return what an epoch trains on."""
        rows, cache = self.real_rows(epoch), self.cached("real", self.real)
        if cache is not None and len(rows) < self.total_real:
            cache = cache[list(rows)]
        return Mixture(Subset(self.real, rows), self.snapshot, size=self.classifier.image_size, cache=cache)

    def owed(self, epoch: int) -> int:
        """Return how many images the round of an epoch is to draw: what a round without mistakes left is made up for."""
        return max(0, sum(self.budgets[: epoch + 1]) - len(self.snapshot))

    def cached(self, name: str, images: ImageSet) -> Tensor | None:
        """Decode a set of images once; None if it is too large to keep."""
        size = self.classifier.image_size
        if len(images.labels) * 3 * size * size > CACHE_BYTES:
            return None
        if name not in self._pixels:
            self._pixels[name] = to_pixels(images, size)
        return self._pixels[name]


def save(training: Training) -> None:
    """Write checkpoint and statistics after an epoch."""
    state = {
        "model": training.classifier.state_dict(), "optimizer": training.optimizer.state_dict(), "stats": training.stats,
        "images": len(training.snapshot), "bank": training.round.artist.bank.state_dict() if training.round else {},
        "inputs": training.inputs,
    }  # fmt: skip
    checkpoint.save(training.folder / "checkpoints" / "last.pt", state)
    checkpoint.write_lines(training.folder / "stats.jsonl", training.stats)


def restore(training: Training) -> None:
    """Continue from the checkpoint, if there is one; images drawn after it are set aside, to be drawn again."""
    path = training.folder / "checkpoints" / "last.pt"
    state = checkpoint.load(path)
    images = 0 if state is None else _restore(training, path, state)
    if training.round is not None:
        training.round.store.keep(images)
        if training.round.files is not None:
            training.round.files.forget_from(training.start)
        training.snapshot = training.round.store.snapshot()
    if state is not None:  # a stop may have come between the two files
        checkpoint.write_lines(training.folder / "stats.jsonl", training.stats)


def _restore(training: Training, path: Path, state: dict[str, Any]) -> int:
    """Load the state and return how many images had been drawn."""
    try:
        _refuse_other_inputs(training, state["inputs"])
        training.classifier.load_state_dict(state["model"])
        training.optimizer.load_state_dict(state["optimizer"])
        training.stats = state["stats"]
        if training.round is not None:
            training.round.artist.bank.load_state_dict(state["bank"])
        return int(state["images"])
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise checkpoint.damaged(path) from error


def _refuse_other_inputs(training: Training, before: dict[str, str]) -> None:
    changed = [name for name, digest in training.inputs.items() if before[name] != digest]
    if changed:
        raise UserError(f"the {' and the '.join(changed)} changed since {training.folder} was stopped. Put back what was "
                        "there, or start a new run with another --out.")  # fmt: skip
