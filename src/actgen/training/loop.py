"""`fit`: the training loop, a generator that yields a line of statistics an epoch.

for every epoch: train on real images + snapshot; look at the test images (for the curves only); a round of generation in
the first part of the training; checkpoint. Running it again on the same folder goes on from the last checkpoint (`resume.py`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..classifiers.predictions import Predictions, predict, predict_together
from ..core.parallel import ranks
from ..core.rng import derive, generator
from ..core.signals import Stopped, check, deferred
from ..core.types import Progress
from ..data.datasets.evaluation import VALIDATION
from ..data.mixture import Mixture
from ..diffusion.weights import hash_networks
from ..generation.round import Round
from ..generation.strategies.base import BEFORE
from ..generation.strategies.class_budgets import class_losses
from .callbacks import SILENT, Callbacks, OnProgress
from .distil import batch_targets
from .loading import batches
from .optim.finite import gradient_norm, refuse_not_finite
from .options import TrainingOptions
from .parallel.batchnorm import shared_statistics
from .parallel.exchange import agree_on_weights, begin_together, generate_together
from .parallel.overlapped import generated_overlapped, join_pending, overlapping, pending, start_pending
from .parallel.part import own_part
from .random_states import get_random, set_random
from .resume import restore, save
from .schedule import learning_rate, schedule_position
from .stages import Begun, EpochStats, Within
from .training import Training


def fit(training: Training, callbacks: Callbacks = SILENT) -> Generator[EpochStats]:
    """Train to the end, yielding the statistics of every epoch; state is kept in `training.folder/checkpoints`.

    Of the `callbacks` those of batches and generated images are called; of epochs the caller hears by itself.
    """
    if training.background is not None:
        training.background.succeed()
    restore(training)
    generate_before(training, callbacks.on_sample)
    with generated_overlapped(training):
        yield from _epochs(training, callbacks)


def _epochs(training: Training, callbacks: Callbacks) -> Iterator[EpochStats]:
    for epoch in range(training.state.start, training.learner.options.epochs):
        with deferred():
            if training.state.trained is None:
                training.state.trained = _train(training, epoch, callbacks.on_batch)
            if training.background is not None:
                generated = _exchange(training, epoch, callbacks.on_sample)
            else:
                generated = generate_if_due(training, epoch, callbacks.on_sample)
            stats = finish_epoch(training, epoch, training.state.trained, generated)
            ranks.total(0.0)  # what a signal asks of one, it asks of all
            if ranks.heard():
                check()
            start_pending(training)
        yield stats


def finish_epoch(training: Training, epoch: int, trained: Mapping[str, Any], generated: Mapping[str, Any]) -> EpochStats:
    """Put the statistics of an epoch together, which is over with that, and save; `generated` is what its round came to."""
    state = training.state
    if epoch == 0 and state.before:
        generated = {**generated, "generation_seconds": round(generated["generation_seconds"] + state.before, 3)}
    stats = EpochStats(
        epoch=epoch,
        **trained,
        **generated,
        generated_so_far=len(state.snapshot),
        filters=training.tallied(),
    )
    state.stats.append(ranks.broadcast(asdict(stats)))
    state.trained = state.begun = None
    save(training)
    return stats


NOTHING_GENERATED: dict[str, Any] = {"holdout_accuracy": None, "mined_pool": None, "generation_seconds": 0.0, "failed": []}


def _train(training: Training, epoch: int, on_batch: OnProgress) -> dict[str, Any]:
    """Train an epoch and test; return its part of the statistics. A signal stops it between two steps, with a checkpoint."""
    began, mixture = time.perf_counter(), training.mixture(epoch)
    earlier = 0.0 if training.state.within is None else training.state.within.seconds
    try:
        with overlapping(training, on_batch) as on_progress:
            loss, rate, steps = train_epoch(training, epoch, mixture, on_progress)
    except Stopped:
        if training.state.within is not None:
            training.state.within.seconds = earlier + time.perf_counter() - began
            save(training)
        raise
    seconds = earlier + time.perf_counter() - began
    training.state.within = None
    last, validated = epoch + 1 == training.learner.options.epochs, training.evaluated_on == VALIDATION
    looking = time.perf_counter()
    accuracy, per_class = _test(training) if last or epoch % training.learner.options.test_every == 0 else (None, None)
    return {
        "train_loss": round(loss, 6),
        "learning_rate": rate,
        "test_accuracy": None if validated else accuracy,
        "validation_accuracy": accuracy if validated else None,
        "per_class": per_class,
        "real_images": len(mixture.real.labels),
        "synthetic_images": len(mixture.rows),
        "optimizer_steps": steps,
        "train_seconds": round(seconds, 3),
        "evaluation_seconds": round(time.perf_counter() - looking, 3),
    }


def train_epoch(training: Training, epoch: int, mixture: Mixture, on_batch: OnProgress) -> tuple[float, float, int]:
    """Train one epoch; return mean loss, last learning rate and optimiser steps since the start."""
    options, seed, device = training.learner.options, training.seed, training.learner.accelerator.device
    steps = steps_per_epoch(options, training.own_real, len(mixture))
    nominal = steps_per_epoch(options, training.own_real, training.own_real)
    done = int(training.state.stats[-1]["optimizer_steps"]) if training.state.stats else 0
    order = options.sampling.order(mixture.labels, len(mixture.real.labels), steps * options.batch_size, seed, epoch)
    within = training.state.within or Within()
    part = own_part(options.batch_size, mixed=options.mixing.acts)
    loader = batches(
        mixture,
        part.of(order[within.steps * options.batch_size :]),
        len(part.rows),
        options.workers,
        generator(seed, "loader", epoch),
    )
    classes, rows, count = len(mixture.real.class_names), training.real_rows(epoch), len(mixture.real.labels)
    counts_K = torch.bincount(torch.tensor(mixture.labels), minlength=classes).to(device)
    training.learner.model.train()
    losses, rate = within.losses, within.rate
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(derive(seed, "epoch", epoch))  # for what the model draws itself: dropout, drop path
        set_random(within.random, device)
        for number, (pixels, labels) in enumerate(loader, start=within.steps):
            position = schedule_position(epoch, number, steps, nominal)
            rate = learning_rate(
                position, nominal * options.epochs, options.learning_rate, options.warmup_fraction, options.min_learning_rate
            )
            images = options.augment(pixels.to(device).float() / 255, generator(seed, "augment", epoch, number), part)
            batch = part.of(order[number * options.batch_size : (number + 1) * options.batch_size])
            known = [rows[index] if index < count else None for index in batch]
            targets = batch_targets(training.state.taught, labels, known, classes).to(device)
            images, targets = options.mixing(images, targets, classes, derive(seed, "mixing", epoch, number))
            if ranks.size() > 1:  # what the model draws itself is the rank's own
                torch.manual_seed(derive(seed, "epoch", epoch, number, ranks.rank()))
            loss, logits = _step(
                training, images[part.guests :], targets[part.guests :], counts_K, rate, (epoch, number), part.share
            )
            losses += loss
            _watch(training, epoch, mixture, order[number * options.batch_size :], logits, targets[part.guests :])
            if training.learner.average is not None:
                training.learner.average.update(training.learner.classifier, step=done + number + 1)
            on_batch(number + 1, steps)
            if ranks.heard():
                training.state.within = Within(steps=number + 1, losses=losses, rate=rate, random=get_random(device))
                check()
    return losses / steps, rate, done + steps


def _step(
    training: Training, images: Tensor, targets: Tensor, counts_K: Tensor, rate: float, at: tuple[int, int], own: float
) -> tuple[float, Tensor]:
    """Take one optimiser step, the `at`th (epoch, number); return its loss and the logits [B, K] before it.

    `own`: how much of the whole batch the images are, in (0, 1]; the loss is that of the whole batch.
    """
    options, accelerator = training.learner.options, training.learner.accelerator
    for group in training.learner.optimizer.param_groups:
        group["lr"] = rate

    def part(images: Tensor, targets: Tensor, share: float) -> tuple[float, Tensor]:
        with accelerator.autocast(), shared_statistics():
            logits = training.learner.model(images)
            loss = options.loss(logits, targets, options.label_smoothing, counts_K) * (share * own)
        accelerator.backward(loss)
        return float(loss.detach()), logits.detach()

    parts = training.learner.micro_batches.run(part, images, targets, training.learner.optimizer.zero_grad)
    loss = ranks.total(sum(loss for loss, _ in parts))
    refuse_not_finite(training, "loss", loss, at)
    ranks.add_up([p.grad for p in training.learner.model.parameters() if p.grad is not None])
    if accelerator.scaler is None:  # which leaves out a step whose gradient overflowed
        refuse_not_finite(training, "gradient", gradient_norm(training.learner.model), at)
    if options.clip_norm:
        accelerator.clip_grad_norm_(training.learner.model.parameters(), options.clip_norm)
    training.learner.optimizer.step()
    return loss, torch.cat([logits for _, logits in parts])


def _watch(training: Training, epoch: int, mixture: Mixture, order: Sequence[int], logits: Tensor, targets: Tensor) -> None:
    """Let the running losses take in those of a batch's real images; `order` begins with the batch."""
    if training.learner.running is None:
        return
    logits, targets = ranks.joined(logits), ranks.joined(targets)
    rows, count = training.real_rows(epoch), len(mixture.real.labels)
    real = [(place, rows[index]) for place, index in enumerate(order[: len(logits)]) if index < count]
    places = torch.tensor([place for place, _ in real], dtype=torch.long)
    losses = F.cross_entropy(logits.float().cpu()[places], targets.cpu()[places], reduction="none")
    training.learner.running.update([row for _, row in real], losses)


def steps_per_epoch(options: TrainingOptions, real: int, images: int) -> int:
    """Return the optimiser steps of an epoch: by the real images alone ("real"), or by all there are ("grow")."""
    return max(1, math.ceil((images if options.epoch_length == "grow" else real) / options.batch_size))


def look_at_test(training: Training) -> Predictions | None:
    """Return the predictions of the images that accuracy is measured on; None if there are none."""
    if training.test is None:
        return None
    pixels = training.cached("test", training.test)
    if pixels is None:
        return predict(training.learner.tested, training.test)
    return Predictions(predict_together(training.learner.tested, pixels), torch.tensor(list(training.test.labels)))


def _test(training: Training) -> tuple[float | None, dict[str, float] | None]:
    training.state.predictions = predictions = look_at_test(training)
    if training.test is None or predictions is None:
        return None, None
    classes = zip(training.test.class_names, predictions.class_accuracy(), strict=True)
    return round(100 * predictions.accuracy, 4), {name: round(100 * value, 2) for name, value in classes if value == value}


def generate_if_due(training: Training, epoch: int, on_sample: OnProgress) -> dict[str, Any]:
    """Do the round that comes after an epoch, if one does; return its part of the statistics."""
    return generate_round(training, epoch, on_sample) if training.budget.has_round(epoch) else NOTHING_GENERATED


def generate_round(training: Training, epoch: int, on_sample: OnProgress) -> dict[str, Any]:
    """Do the round of an epoch, or the rest of it; return its part of the statistics. Epoch -1 is before the first."""
    assert training.round is not None
    round_, began = training.round, time.perf_counter()
    earlier = sum(float(row["seconds"]) for row in round_.store.snapshot().rows[len(training.state.snapshot) :])
    if training.state.begun is None:
        training.state.begun = _begin(training, round_, epoch)
        began = time.perf_counter()  # what came before is counted below, also when the round goes on after a stop
        if training.state.begun.plan.requests:
            save(training)  # a stop in the round repeats neither the training nor the plan
    rejections = len(round_.sampler.failed)
    training.state.snapshot = generate_together(training, on_sample)
    seconds = training.state.begun.seconds + earlier + time.perf_counter() - began
    return {
        "holdout_accuracy": training.state.begun.holdout_accuracy,
        "mined_pool": training.mined_pool,
        "generation_seconds": round(seconds, 3),
        "failed": [vars(one) for one in round_.sampler.failed[rejections:]],
    }


def _exchange(training: Training, epoch: int, on_sample: OnProgress) -> dict[str, Any]:
    """Take in the round that was generated while this epoch trained, and plan the next; return its part of the statistics."""
    assert training.round is not None
    generated = {**NOTHING_GENERATED, **join_pending(training, on_sample)}
    if not training.budget.has_round(epoch):
        return generated
    begun = _begin(training, training.round, epoch)
    if begun.plan.requests:
        training.state.pending = pending(training, begun)
    else:
        generated["generation_seconds"] = round(generated["generation_seconds"] + begun.seconds, 3)
    return {**generated, "holdout_accuracy": begun.holdout_accuracy, "mined_pool": training.mined_pool}


def _begin(training: Training, round_: Round, epoch: int) -> Begun:
    """Look at the real images and plan what to generate."""
    began = time.perf_counter()
    agree_on_weights(training)
    predictions = training.predict_pool()
    accuracy = None if predictions is None else round(100 * predictions.accuracy, 4)

    def begun() -> Begun:
        now, owed = Progress(epoch=epoch, epochs=training.learner.options.epochs), training.owed(epoch, accuracy)
        plan, seconds = round_.plan(predictions, now, owed, _shares(training, predictions)), time.perf_counter() - began
        scouting = 0.0 if training.state.proxy is None or epoch >= 0 else training.state.proxy.seconds
        weights = "" if training.learner.learns else hash_networks([training.round_classifier])
        return Begun(plan=plan, holdout_accuracy=accuracy, seconds=seconds + scouting, weights=weights)

    return begin_together(begun)


def _shares(training: Training, predictions: Predictions | None) -> list[float] | None:
    """Return each class's share of the budget by what the rounds before came to; None while all have the same."""
    if training.budget.class_budgets is None:
        return None
    classes = len(training.real.class_names)
    losses: Sequence[float] = [math.nan] * classes
    if predictions is not None and training.state.cross_fitted is None:  # which never change, and so measure no round
        each = F.cross_entropy(predictions.logits_NK, predictions.labels_N, reduction="none")
        losses = class_losses(each, predictions.labels_N, classes)
    training.budget.class_budgets.note(losses, *training.counts())
    return training.budget.class_budgets.shares


def generate_before(training: Training, on_sample: OnProgress) -> None:
    """Do the round that comes before the training, if there is one and it is not done."""
    due = training.round is not None and training.round.strategy.when == BEFORE
    if not due or training.state.before is not None or training.state.start > 0:
        return
    with deferred():
        training.state.before = float(generate_round(training, -1, on_sample)["generation_seconds"])
        training.state.begun = None
        save(training)
