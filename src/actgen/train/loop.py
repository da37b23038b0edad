"""`fit`: the training loop, a generator that yields a line of statistics an epoch.

for every epoch: train on real images + snapshot; look at the test images (for the curves only); a round of generation in
the first part of the training; checkpoint. Running it again on the same folder continues after the last checkpoint.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from ..classify.classifier import Classifier
from ..classify.evaluate import Predictions, predict, predict_pixels
from ..data.imageset import ImageSet, Subset, to_pixels
from ..data.mixture import CACHE_BYTES, Mixture
from ..errors import UserError
from ..records import Progress, Snapshot
from ..seeding import generator, permutation
from ..synthesis import Round
from . import checkpoint
from .augment import Augmentation
from .schedule import generating_epochs, learning_rate, round_budgets


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


def fit(
    training: Training, *, on_batch: Callable[[int, int], None] | None = None,
    on_sample: Callable[[int, int], None] | None = None,
) -> Iterator[EpochStats]:  # fmt: skip
    """Train to the end, yielding the statistics of every epoch; state is kept in `training.folder/checkpoints`."""
    restore(training)
    for epoch in range(training.start, training.hyper.epochs):
        began = time.perf_counter()
        mixture = training.mixture(epoch)
        loss, rate, steps = train_epoch(training, epoch, mixture, on_batch)
        trained = time.perf_counter()
        last = epoch + 1 == training.hyper.epochs
        accuracy, per_class = _test(training) if last or epoch % training.hyper.test_every == 0 else (None, None)
        tested = time.perf_counter()
        holdout = _holdout_accuracy(training, epoch)
        if epoch < training.generating and training.round is not None:
            now = Progress(epoch=epoch, epochs=training.hyper.epochs)
            owed = sum(training.budgets[: epoch + 1]) - len(training.snapshot)  # a round without mistakes leaves its share
            training.snapshot = training.round(training.classifier, now, owed, on_sample)
        stats = EpochStats(
            epoch=epoch, train_loss=round(loss, 6), learning_rate=rate, test_accuracy=accuracy, holdout_accuracy=holdout,
            per_class=per_class, real_images=len(mixture.real.labels), synthetic_images=len(mixture.rows),
            optimizer_steps=steps, train_seconds=round(trained - began, 3),
            generation_seconds=round(time.perf_counter() - tested, 3) if epoch < training.generating else 0.0,
        )  # fmt: skip
        training.stats.append(asdict(stats))
        save(training)
        yield stats


def train_epoch(
    training: Training, epoch: int, mixture: Mixture, on_batch: Callable[[int, int], None] | None
) -> tuple[float, float, int]:  # fmt: skip
    """Train one epoch; return mean loss, last learning rate and optimiser steps since the start."""
    hyper, model = training.hyper, training.model
    steps = steps_per_epoch(hyper, training.total_real, len(mixture))
    done = int(training.stats[-1]["optimizer_steps"]) if training.stats else 0
    total = steps_per_epoch(hyper, training.total_real, training.total_real) * hyper.epochs
    order = epoch_order(len(mixture), steps * hyper.batch_size, hyper.seed, epoch)
    loader = DataLoader(mixture, batch_size=hyper.batch_size, sampler=order, num_workers=hyper.workers)
    model.train()
    losses, rate = 0.0, 0.0
    for number, (pixels, labels) in enumerate(loader):
        rate = learning_rate(min(done + number, total - 1), total, hyper.learning_rate, hyper.warmup)
        for group in training.optimizer.param_groups:
            group["lr"] = rate
        images = hyper.augment(pixels.float() / 255, generator(hyper.seed, "augment", epoch, number))
        device = training.accelerator.device
        loss = F.cross_entropy(model(images.to(device)), labels.to(device), label_smoothing=hyper.label_smoothing)
        training.optimizer.zero_grad(set_to_none=True)
        training.accelerator.backward(loss)
        training.optimizer.step()
        losses += float(loss.detach())
        if on_batch is not None:
            on_batch(number + 1, steps)
    if not math.isfinite(losses):
        raise UserError(
            f"the training loss is not finite in epoch {epoch}: lower training.learning_rate, now {hyper.learning_rate:g}."
        )
    return losses / steps, rate, done + steps


def steps_per_epoch(hyper: Hyper, real: int, images: int) -> int:
    """Return the optimiser steps of an epoch: by the real images alone ("real"), or by all there are ("grow")."""
    return max(1, math.ceil((images if hyper.epoch_length == "grow" else real) / hyper.batch_size))


def epoch_order(images: int, wanted: int, seed: int, epoch: int) -> list[int]:
    """Return `wanted` indices: shuffled passes over all images, the last one cut short."""
    passes = [permutation(images, seed, "order", epoch, number) for number in range(-(-wanted // images))]
    return [index for one in passes for index in one][:wanted]


def _test(training: Training) -> tuple[float | None, dict[str, float] | None]:
    if training.test is None:
        return None, None
    logits = predict_pixels(training.classifier, training.cached("test", training.test))
    seen = Predictions(logits, torch.tensor(list(training.test.labels)))
    classes = zip(training.test.class_names, seen.class_accuracy(), strict=True)
    return round(100 * seen.accuracy, 4), {name: round(100 * value, 2) for name, value in classes if value == value}


def _holdout_accuracy(training: Training, epoch: int) -> float | None:
    if training.held_out is None or training.round is None or epoch >= training.generating:
        return None
    return round(100 * predict(training.classifier, training.held_out).accuracy, 4)


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
