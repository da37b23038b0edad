"""`fit`: the training loop, a generator that yields a line of statistics an epoch.

for every epoch: train on real images + snapshot; look at the test images (for the curves only); a round of generation in
the first part of the training; checkpoint. Running it again on the same folder goes on from the last checkpoint (`resume.py`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from typing import Any

import torch
from torch.nn import functional as F

from ..classifiers.predictions import Predictions, predict, predict_together
from ..core.parallel import ranks
from ..core.signals import Stopped, check, deferred
from ..core.types import Progress
from ..data.datasets.evaluation import VALIDATION
from ..diffusion.weights import hash_networks
from ..generation.round import Round
from ..generation.strategies.base import BEFORE
from ..generation.strategies.class_budgets import class_losses
from .callbacks import SILENT, Callbacks, OnProgress
from .epoch import train_epoch
from .parallel.exchange import agree_on_weights, begin_together, generate_together
from .parallel.overlapped import generated_overlapped, join_pending, overlapping, pending, start_pending
from .resume import restore, save
from .stages import Begun, EpochStats
from .training import Training


def fit(training: Training, callbacks: Callbacks = SILENT) -> Generator[EpochStats]:
    """Train to the end, yielding the statistics of every epoch; state is kept in `training.folder/checkpoints`.

    Of the `callbacks` those of batches and generated images are called; of epochs the caller hears by itself.
    """
    if training.background is not None:
        training.background.succeed()
    restore(training)
    generate_before(training, callbacks.on_sample)
    with generated_overlapped(training), closing(training):
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
        with overlapping(training, on_batch) as on_progress, ranks.reached():  # wherever in it another process is missed
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


def look_at_test(training: Training) -> Predictions | None:
    """Return the predictions of the images that accuracy is measured on; None if there are none."""
    if training.test is None:
        return None
    pixels = training.cached("test", training.test, training.learner.tested.view)
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
