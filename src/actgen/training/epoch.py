"""One epoch of training: the loop over its batches, and the step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.parallel import ranks
from ..core.rng import derive
from ..core.signals import check
from ..data.mixture import Mixture
from .augment.moves import Moves
from .callbacks import OnProgress
from .distil import batch_targets
from .optim.finite import refuse_not_finite
from .optim.scheduler import cosine
from .options import TrainingOptions
from .parallel.exchange import agree_on_buffers
from .random_states import get_random, set_random
from .schedule import schedule_position
from .stages import Within
from .training import Training


def train_epoch(training: Training, epoch: int, mixture: Mixture, on_batch: OnProgress) -> tuple[float, float, int]:
    """Train one epoch; return mean loss, last learning rate and optimiser steps since the start."""
    learner, seed, state = training.learner, training.seed, training.state
    options, device, classes = learner.options, learner.accelerator.device, len(mixture.real.class_names)
    steps = steps_per_epoch(options, training.own_real, len(mixture))
    nominal = steps_per_epoch(options, training.own_real, training.own_real)
    done = int(state.stats[-1]["optimizer_steps"]) if state.stats else 0
    within = state.within or Within()
    order = options.sampling.order(mixture.labels, len(mixture.real.labels), steps * options.batch_size, seed, epoch)
    loader = training.loader_of(mixture, order)
    places = [_own_places(number, options) for number in range(steps)]
    moves = Moves.of_epoch(options.augment.shift, options.augment.flip, len(order), seed, epoch)
    schedule = cosine(
        learner.optimizer,
        nominal * options.epochs,
        options.learning_rate,
        options.warmup_fraction,
        options.min_learning_rate,
    )
    real, count = training.real_rows(epoch), len(mixture.real.labels)
    counts_K = torch.bincount(torch.tensor(mixture.labels), minlength=classes).to(device)
    learner.model.train()
    losses, rate = within.losses, within.rate
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(derive(seed, "epoch", epoch))  # for what the model draws itself: dropout, drop path
        set_random(within.random, device)
        batches = loader.epoch(epoch, order, places[within.steps :])
        for number, (pixels, labels) in enumerate(batches, start=within.steps):
            schedule.step_update(schedule_position(epoch, number, steps, nominal))
            rate = learner.optimizer.param_groups[0]["lr"]
            rows = [order[place] for place in places[number]]
            known = [real[row] if row < count else None for row in rows]
            targets = batch_targets(state.taught, labels, known, classes).to(device)
            moved = moves(_to_unit(pixels.to(device, non_blocking=True)), places[number])
            mixed, targets = options.mixing(moved, targets, classes, derive(seed, "mixing", epoch, number, ranks.rank()))
            if ranks.size() > 1:  # what the model draws itself is the rank's own
                torch.manual_seed(derive(seed, "epoch", epoch, number, ranks.rank()))
            loss, logits = _step(training, mixed, targets, counts_K, (epoch, number))
            losses += loss
            _watch(training, known, logits, targets)
            if learner.average is not None:
                learner.average.update(learner.classifier, step=done + number + 1)
            on_batch(number + 1, steps)
            if ranks.heard():
                state.within = Within(steps=number + 1, losses=losses, rate=rate, random=get_random(device))
                check()
    agree_on_buffers(learner)
    return losses / steps, rate, done + steps


def steps_per_epoch(options: TrainingOptions, real: int, images: int) -> int:
    """Return the optimiser steps of an epoch: by the real images alone ("real"), or by all there are ("grow")."""
    return max(1, math.ceil((images if options.epoch_length == "grow" else real) / options.batch_size))


def _own_places(number: int, options: TrainingOptions) -> range:
    """Return the places of an epoch that this rank trains on in one step: an equal part of its batch."""
    start, own = number * options.batch_size, ranks.share(options.batch_size)
    return range(start + own.start, start + own.stop)


def _to_unit(pixels: Tensor) -> Tensor:
    """uint8 -> [0, 1]; floats are that already."""
    return pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels


def _step(training: Training, images: Tensor, targets: Tensor, counts_K: Tensor, at: tuple[int, int]) -> tuple[float, Tensor]:
    """Take one optimiser step, the `at`th (epoch, number); return its loss, of all ranks, and this rank's logits before it."""
    learner = training.learner
    options, accelerator = learner.options, learner.accelerator

    def part(images: Tensor, targets: Tensor, share: float, last: bool) -> tuple[float, Tensor]:
        with nullcontext() if last else accelerator.no_sync(learner.model):
            with accelerator.autocast():
                logits = learner.model(images)
                loss = options.loss(logits, targets, options.label_smoothing, counts_K) * share
            accelerator.backward(loss)
        return float(loss.detach()), logits.detach()

    parts = learner.micro_batches.run(part, images, targets, learner.optimizer.zero_grad)
    loss = ranks.total(sum(loss for loss, _ in parts)) / ranks.size()
    refuse_not_finite(training, "loss", loss, at)
    norm: Tensor
    if options.clip_norm:
        norm = accelerator.clip_grad_norm_(learner.model.parameters(), options.clip_norm)
    else:
        norm = nn.utils.get_total_norm([p.grad for p in learner.model.parameters() if p.grad is not None])
    if accelerator.scaler is None:  # which leaves out a step whose gradient overflowed
        refuse_not_finite(training, "gradient", float(norm), at)
    learner.optimizer.step()
    return loss, torch.cat([logits for _, logits in parts])


def _watch(training: Training, known: Sequence[int | None], logits: Tensor, targets: Tensor) -> None:
    """Let the running losses take in those of a batch's real images; `known`: which real image each is, None for others."""
    running = training.learner.running
    if running is None:
        return
    losses = F.cross_entropy(logits.float(), targets, reduction="none").cpu()
    rows, losses = ranks.joined(torch.tensor([-1 if row is None else row for row in known])), ranks.joined(losses)
    running.update(rows[rows >= 0].tolist(), losses[rows >= 0])
