"""Adapting a generator does what it is for: the loss on the data falls, and what is generated moves to the data."""

from __future__ import annotations

import math
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from actgen.core.assets import bundled_generator
from actgen.core.class_words import class_prompt
from actgen.core.rng import generator
from actgen.core.types import Progress
from actgen.data.datasets.imageset import ArrayImages, stack_pixels, to_pixels
from actgen.data.datasets.sources import load_data
from actgen.diffusion.loading import Loading
from actgen.diffusion.pipeline import PipelineAdapter
from actgen.finetune.adapt import Adaptation, adapt
from actgen.finetune.examples import Examples
from actgen.finetune.lora import attach
from actgen.finetune.objective import Objective
from actgen.finetune.optimise import Schedule, optimise
from actgen.finetune.options import AdaptOptions, LoraOptions
from actgen.generation.presets import PRESETS
from actgen.generation.sampler import ImageSampler
from actgen.generation.strategies.text_only import TextOnly
from tests.support.coloured import PROMPTS, coloured
from tests.support.families import FAMILIES

DRAWN = 32
NAMES = ("trouser", "pullover", "bag", "ankle boot")


@pytest.mark.parametrize("family", ["sd1", pytest.param("sd2-v", marks=pytest.mark.slow)])
def test_the_loss_on_fixed_draws_falls(tmp_path: Path, family: str) -> None:
    options = AdaptOptions(batch_size=8, learning_rate=1e-2)
    adapter = PipelineAdapter(FAMILIES[family](), family)
    for network in adapter.networks:
        network.requires_grad_(False)
    made = Objective(adapter, Examples(coloured(2), list(PROMPTS.values()), 32), options, nullcontext)

    @torch.no_grad()
    def errors() -> Tensor:
        return made.errors(*made.examples.draw(64, generator(1, "pictures")), generator(1, "noise"))

    before = errors()
    trained = attach(adapter, LoraOptions(rank=8), 0, torch.float32)
    list(optimise(trained, made, Schedule(steps=25, batch_size=8, learning_rate=1e-2, ema=0.0), tmp_path))
    gain = before - errors()
    assert float(gain.mean()) > 6 * float(gain.std()) / math.sqrt(len(gain))  # by chance in one of a billion


def look_alikes(per_class: int) -> ArrayImages:
    """Return Fashion-MNIST pictures of `NAMES`, each labelled as the class before it: a bag is called a coat, and so on."""
    real = load_data("fashion-mnist-mini").train
    rows, labels = [], []
    for place in range(len(NAMES)):
        seen = NAMES[(place + 1) % len(NAMES)]
        found = [n for n, label in enumerate(real.labels) if real.class_names[label] == seen][:per_class]
        rows += found
        labels += [place] * len(found)
    pixels = np.stack([np.asarray(real.image(row)) for row in rows])
    return ArrayImages(pixels, tuple(labels), NAMES, tuple(f"train/{row}" for row in rows))


def taken_for(generator_: Path, lora: str, means_K: Tensor) -> Tensor:
    """Generate `DRAWN` pictures, as many of each class; return how often those of a class are nearest to which mean, [K, K]."""
    sampler = ImageSampler(PipelineAdapter.from_pretrained(str(generator_), loading=Loading(lora=lora)), PRESETS["tiny"])
    counts = torch.zeros((len(NAMES), len(NAMES)), dtype=torch.long)
    for sample in sampler.generate(TextOnly().plan([], NAMES, DRAWN, Progress(epoch=0, epochs=1), 5)):
        distance = (means_K - stack_pixels([sample.image]).float()).square().sum(dim=(1, 2, 3))
        counts[sample.request.label, distance.argmin()] += 1
    return counts


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("way", ["lora", "full"])
def test_what_is_drawn_becomes_what_the_data_show(tmp_path: Path, way: str) -> None:
    """The generator generates each class as it is, the data call it by another name. By chance 8 of 32 would be right."""
    options = AdaptOptions(
        lora=LoraOptions(rank=8) if way == "lora" else None,
        steps=120,
        batch_size=16,
        learning_rate=1e-2 if way == "lora" else 1e-3,
        sample_every=0,
    )
    base, data = bundled_generator(), look_alikes(100)
    prompts = {name: class_prompt(name) for name in NAMES}
    task = Adaptation(
        images=data, prompts=prompts, generator=str(base), out=tmp_path / "out", options=options, sampling=PRESETS["tiny"]
    )
    losses = [float(progress.tick.loss or 0) for progress in adapt(task)]
    pixels, labels = to_pixels(data, 32).float(), torch.tensor(data.labels)
    means_K = torch.stack([pixels[labels == label].mean(dim=0) for label in range(len(NAMES))])
    before = taken_for(base, "", means_K)
    after = taken_for(base, str(task.out), means_K) if way == "lora" else taken_for(task.out, "", means_K)
    assert int(before.diagonal().sum()) <= 8
    assert int(after.diagonal().sum()) >= 24, (before, after, np.mean(losses[:20]), np.mean(losses[-20:]))  # 1 in a billion
    assert np.mean(losses[-20:]) < np.mean(losses[:20])
