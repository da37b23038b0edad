"""What a run will do and how long it will take, from a short measurement: `--dry-run`."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, replace
from pathlib import Path

from ..core.frozen import frozen
from ..core.prompts import worded
from ..core.types import HardExample, Progress, Request, Sample, Source
from ..data.datasets.imageset import Subset
from ..data.mixture import Mixture
from ..generation.best_of_n import BestOfN
from ..generation.round import Round
from ..generation.sampler import ImageSampler, Sampler
from ..generation.sampling_context import SamplingContext
from ..generation.strategies.base import BEFORE
from ..training.callbacks import SILENT
from ..training.epoch import steps_per_epoch, train_epoch
from ..training.training import Training
from .build import open_data_for, open_run
from .config import Recipe
from .understood import Understood, adapter_of, understand

USUAL_SHARE = 0.4  # of the candidates that a choice may take, it takes so many, and asking about them costs


@dataclass(frozen=True)
class Estimate:
    """What a run will do: images, steps and the seconds that a short measurement predicts; which files it cannot use.

    `prompts`: how many different ones the images are asked for with, of `prompts_there`.
    """

    images: int
    rounds: int
    optimizer_steps: int
    train_seconds: float
    generation_seconds: float
    left_out: tuple[str, ...]
    prompts: int
    prompts_there: int
    understood: Understood


def estimate(recipe: Recipe, out: Path) -> Estimate:
    """Measure a few optimiser steps and one small batch of generated images, and scale them up; nothing is written."""
    data = open_data_for(recipe, out)
    training = open_run(recipe, out, data)
    understood = understand(recipe, data, adapter_of(training))
    steps, seconds_a_step = _planned_steps(training), _seconds_a_step(_trial(training))
    images = sum(training.budget.per_epoch)
    sampling = _sampling_seconds(training) if images else 0.0
    if training.needs_proxy_model and training.mining is not None:
        real = training.own_real
        sampling += training.mining.proxy_epochs * steps_per_epoch(training.learner.options, real, real) * seconds_a_step
    rounds = sum(training.budget.has_round(epoch) for epoch in range(training.budget.generating))
    asked = {request.prompt for request in _planned_requests(training, training.round)} if images and training.round else set()
    there = sum(map(len, recipe.prompts.variants(training.real.class_names).values())) if asked else 0
    return Estimate(images, rounds, steps, steps * seconds_a_step, sampling, training.left_out, len(asked), there, understood)


def _planned_steps(training: Training) -> int:
    """Return the optimiser steps of the whole run, if every round generates its share."""
    options, real = training.learner.options, training.own_real
    early = training.round is not None and training.round.strategy.when == BEFORE
    late = training.background is not None  # its images join an epoch later
    generated = [
        training.budget.total if early else sum(training.budget.per_epoch[: max(0, epoch - late)])
        for epoch in range(options.epochs)
    ]
    sizes = [len(training.real_rows(epoch)) + generated[epoch] for epoch in range(options.epochs)]
    return sum(steps_per_epoch(options, real, images) for images in sizes)


def _trial(training: Training) -> Training:
    """Return a training of the same classifier for one epoch of a few steps."""
    learner, few = copy.copy(training.learner), min(training.own_real, 4 * training.learner.options.batch_size)
    learner.options = replace(learner.options, epochs=1, epoch_length="real")
    real = Subset(training.real, training.real_rows(0)[:few])
    return Training(learner=learner, real=real, folder=training.folder, seed=training.seed)


def _seconds_a_step(trial: Training) -> float:
    mixture = Mixture(trial.real, size=trial.learner.classifier.image_size)
    train_epoch(trial, 0, mixture, SILENT.on_batch)
    began = time.perf_counter()
    steps = train_epoch(trial, 0, mixture, SILENT.on_batch)[2]
    return (time.perf_counter() - began) / steps


def _sampling_seconds(training: Training) -> float:
    """Time a small batch of every kind of generating that the rounds ask for, and scale it by how many they ask for."""
    round_, classifier = training.round, training.learner.classifier
    assert round_ is not None
    if training.background is not None:
        classifier = copy.deepcopy(classifier).to(training.background.device)
    sampler: Sampler = round_.sampler
    candidates = 1.0
    if isinstance(sampler, BestOfN):
        candidates, sampler = max(1.0, USUAL_SHARE * sampler.options.samples_per_request), sampler.sampler
    if isinstance(sampler, ImageSampler):
        sampler = ImageSampler(sampler.adapter, sampler.sampling, masks=sampler.masks)  # with a memory of its own
    most = min(sampler.sampling.batch_size, 16)
    kinds: dict[tuple[object, ...], list[Request]] = {}
    for request in _planned_requests(training, round_):
        kinds.setdefault((request.guides, request.strength), []).append(request)

    def generate(requests: list[Request]) -> list[Sample]:
        with frozen(classifier):
            return list(
                sampler.generate(requests[:most], SamplingContext(guide_image=round_.guide_image, classifier=classifier))
            )

    for sample in generate(next(iter(kinds.values()))):  # warms up, and gives the contrastive loss something to repel from
        for label in range(len(training.real.class_names)):
            sampler.bank.add(label, sample.latents)
    return candidates * sum(len(requests) * generate(requests)[0].seconds for requests in kinds.values())


def _planned_requests(training: Training, round_: Round) -> list[Request]:
    """Return what the rounds would ask for if every image that they look at was a hard example."""
    hard_examples = [
        HardExample(source=Source(split="pool", index=i, key=key), label=label, predicted=label, loss=0.0, probability=0.0)
        for i, (key, label) in enumerate(zip(round_.pool.keys, round_.pool.labels, strict=True))
    ]
    names, epochs = training.real.class_names, training.learner.options.epochs
    budgets = {-1: training.budget.total} if round_.strategy.when == BEFORE else dict(enumerate(training.budget.per_epoch))
    return [
        request
        for epoch, budget in budgets.items()
        for request in worded(
            round_.strategy.plan(hard_examples, names, budget, Progress(epoch=epoch, epochs=epochs), training.seed),
            round_.prompts,
        )
    ]
