"""`fit`: the training loop, a generator that yields a line of statistics an epoch.

for every epoch: train on real images + snapshot; look at the test images (for the curves only); a round of generation in
the first part of the training; checkpoint. Running it again on the same folder continues after the last checkpoint.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict

import torch
from torch import Tensor
from torch.nn import functional as F

from ..classify.evaluate import Predictions, predict, predict_pixels
from ..data.evaluation import VALIDATION
from ..data.mixture import Mixture
from ..records import Progress
from ..seeding import derive, generator, permutation
from ..strategies.base import BEFORE
from .finite import gradient_norm, refuse_not_finite
from .loading import batches
from .options import TrainingOptions
from .schedule import learning_rate, schedule_position
from .state import EpochStats, Training, restore, save


def fit(
    training: Training, *, on_batch: Callable[[int, int], None] | None = None,
    on_sample: Callable[[int, int], None] | None = None,
) -> Iterator[EpochStats]:  # fmt: skip
    """Train to the end, yielding the statistics of every epoch; state is kept in `training.folder/checkpoints`."""
    restore(training)
    before = _prepare(training, on_sample)
    validated = training.evaluated_on == VALIDATION
    for epoch in range(training.start, training.options.epochs):
        began = time.perf_counter()
        mixture = training.mixture(epoch)
        loss, rate, steps = train_epoch(training, epoch, mixture, on_batch)
        trained = time.perf_counter()
        last = epoch + 1 == training.options.epochs
        accuracy, per_class = _test(training) if last or epoch % training.options.test_every == 0 else (None, None)
        tested = time.perf_counter()
        refusals = len(training.round.artist.refused) if training.round is not None else 0
        holdout = _generate(training, epoch, on_sample) if epoch < training.generating else None
        stats = EpochStats(
            epoch=epoch, train_loss=round(loss, 6), learning_rate=rate, test_accuracy=None if validated else accuracy,
            validation_accuracy=accuracy if validated else None, holdout_accuracy=holdout,
            per_class=per_class, real_images=len(mixture.real.labels), synthetic_images=len(mixture.rows),
            drawn_so_far=len(training.snapshot), optimizer_steps=steps, train_seconds=round(trained - began, 3),
            generation_seconds=round(time.perf_counter() - tested + before, 3) if epoch < training.generating else 0.0,
            refused=[vars(one) for one in training.round.artist.refused[refusals:]] if training.round is not None else [],
            filters=training.tallied(),
        )  # fmt: skip
        training.stats.append(asdict(stats))
        save(training)
        before = 0.0
        yield stats


def train_epoch(
    training: Training, epoch: int, mixture: Mixture, on_batch: Callable[[int, int], None] | None
) -> tuple[float, float, int]:  # fmt: skip
    """Train one epoch; return mean loss, last learning rate and optimiser steps since the start."""
    options, seed, device = training.options, training.seed, training.accelerator.device
    steps = steps_per_epoch(options, training.total_real, len(mixture))
    nominal = steps_per_epoch(options, training.total_real, training.total_real)
    done = int(training.stats[-1]["optimizer_steps"]) if training.stats else 0
    order = epoch_order(len(mixture), steps * options.batch_size, seed, epoch)
    loader = batches(mixture, order, options.batch_size, options.workers, generator(seed, "loader", epoch))
    classes = len(mixture.real.class_names)
    training.model.train()
    losses, rate = 0.0, 0.0
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(derive(seed, "epoch", epoch))  # for what the model draws itself: dropout, drop path
        for number, (pixels, labels) in enumerate(loader):
            position = schedule_position(epoch, number, steps, nominal)
            rate = learning_rate(position, nominal * options.epochs, options.learning_rate, options.warmup_fraction,
                                 options.min_learning_rate)  # fmt: skip
            images = options.augment(pixels.to(device).float() / 255, generator(seed, "augment", epoch, number))
            images, targets = options.mixing(images, labels.to(device), classes, derive(seed, "mixing", epoch, number))
            loss, logits = _step(training, images, targets, rate, (epoch, number))
            losses += loss
            _watch(training, epoch, mixture, order[number * options.batch_size :], logits, targets)
            if training.average is not None:
                training.average.update(training.classifier, step=done + number + 1)
            if on_batch is not None:
                on_batch(number + 1, steps)
    return losses / steps, rate, done + steps


def _step(
    training: Training, images: Tensor, targets: Tensor, rate: float, at: tuple[int, int]
) -> tuple[float, Tensor]:  # fmt: skip
    """Take one optimiser step, the `at`th (epoch, number); return its loss and the logits [B, K] before it."""
    options, accelerator = training.options, training.accelerator
    for group in training.optimizer.param_groups:
        group["lr"] = rate

    def part(images: Tensor, targets: Tensor, share: float) -> tuple[float, Tensor]:
        with accelerator.autocast():
            logits = training.model(images)
            loss = options.loss(logits, targets, options.label_smoothing) * share
        accelerator.backward(loss)
        return float(loss.detach()), logits.detach()

    parts = training.micro_batches.run(part, images, targets, training.optimizer.zero_grad)
    loss = sum(loss for loss, _ in parts)
    refuse_not_finite(training, "loss", loss, at)
    if accelerator.scaler is None:  # which leaves out a step whose gradient overflowed
        refuse_not_finite(training, "gradient", gradient_norm(training.model), at)
    if options.clip_norm:
        accelerator.clip_grad_norm_(training.model.parameters(), options.clip_norm)
    training.optimizer.step()
    return loss, torch.cat([logits for _, logits in parts])


def _watch(
    training: Training, epoch: int, mixture: Mixture, order: Sequence[int], logits: Tensor, targets: Tensor
) -> None:  # fmt: skip
    """Let the running losses take in those of a batch's real images; `order` begins with the batch."""
    if training.running is None:
        return
    rows, count = training.real_rows(epoch), len(mixture.real.labels)
    real = [(place, rows[index]) for place, index in enumerate(order[: len(logits)]) if index < count]
    places = torch.tensor([place for place, _ in real], dtype=torch.long)
    losses = F.cross_entropy(logits.float().cpu()[places], targets.cpu()[places], reduction="none")
    training.running.update([row for _, row in real], losses)


def steps_per_epoch(options: TrainingOptions, real: int, images: int) -> int:
    """Return the optimiser steps of an epoch: by the real images alone ("real"), or by all there are ("grow")."""
    return max(1, math.ceil((images if options.epoch_length == "grow" else real) / options.batch_size))


def epoch_order(images: int, wanted: int, seed: int, epoch: int) -> list[int]:
    """Return `wanted` indices: shuffled passes over all images, the last one cut short."""
    passes = [permutation(images, seed, "order", epoch, number) for number in range(-(-wanted // images))]
    return [index for one in passes for index in one][:wanted]


def _test(training: Training) -> tuple[float | None, dict[str, float] | None]:
    if training.test is None:
        return None, None
    pixels = training.cached("test", training.test)
    if pixels is None:
        seen = predict(training.tested, training.test)
    else:
        seen = Predictions(predict_pixels(training.tested, pixels), torch.tensor(list(training.test.labels)))
    classes = zip(training.test.class_names, seen.class_accuracy(), strict=True)
    return round(100 * seen.accuracy, 4), {name: round(100 * value, 2) for name, value in classes if value == value}


def _generate(training: Training, epoch: int, on_sample: Callable[[int, int], None] | None) -> float | None:
    """Do the round of an epoch; return the accuracy on the held-out images in percent, if they were looked at."""
    assert training.round is not None
    seen = training.look()
    accuracy = None if seen is None else round(100 * seen.accuracy, 4)
    now, owed = Progress(epoch=epoch, epochs=training.options.epochs), training.owed(epoch, accuracy)
    training.snapshot = training.round(training.classifier, now, owed, on_sample, seen=seen)
    return accuracy


def _prepare(training: Training, on_sample: Callable[[int, int], None] | None) -> float:
    """Do the round that comes before the training, if there is one; return the seconds it took."""
    if training.start > 0 or training.round is None or training.round.strategy.when != BEFORE:
        return 0.0
    began = time.perf_counter()
    _generate(training, -1, on_sample)
    return time.perf_counter() - began
