"""`fit`: the training loop, a generator that yields a line of statistics an epoch.

for every epoch: train on real images + snapshot; look at the test images (for the curves only); a round of generation in
the first part of the training; checkpoint. Running it again on the same folder continues after the last checkpoint.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader

from ..classify.evaluate import Predictions, predict, predict_pixels
from ..data.mixture import Mixture
from ..errors import UserError
from ..records import Progress
from ..seeding import generator, permutation
from .schedule import learning_rate
from .state import EpochStats, Hyper, Training, restore, save


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
