"""Adapting a generator does what it is for: the loss on the data falls, and what is drawn moves to the data."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from actgen.diffuse.backbone import Backbone
from actgen.diffuse.loading import Loading
from actgen.drawing import Artist
from actgen.finetune.adapt import Adaptation, adapt
from actgen.finetune.examples import Examples
from actgen.finetune.lora import attach
from actgen.finetune.objective import Objective
from actgen.finetune.optimise import Schedule, optimise
from actgen.finetune.options import AdaptOptions, LoraOptions
from actgen.finetune.scratch import ScratchConfig, train_from_scratch
from actgen.presets import PRESETS
from actgen.records import Progress
from actgen.seeding import generator
from actgen.strategies.text_only import TextOnly
from tests.diffuse.families import FAMILIES
from tests.finetune.coloured import PROMPTS, SHADES, coloured, mean_colour

DRAWN = 32
NAMES, COLOURS = list(SHADES), np.array(list(SHADES.values()))
OTHERS = {name: SHADES[NAMES[(place + 1) % len(NAMES)]] for place, name in enumerate(NAMES)}
"""The colours, each of another class."""


@pytest.mark.parametrize("family", ["sd1", "sd2-v"])
def test_the_loss_on_fixed_draws_falls(tmp_path: Path, family: str) -> None:
    options = AdaptOptions(batch_size=8, learning_rate=1e-2)
    backbone = Backbone(FAMILIES[family](), family)
    for network in backbone.networks:
        network.requires_grad_(False)
    made = Objective(backbone, Examples(coloured(2), list(PROMPTS.values()), 32), options, nullcontext)

    @torch.no_grad()
    def errors() -> Tensor:
        return made.errors(*made.examples.draw(64, generator(1, "pictures")), generator(1, "noise"))

    before = errors()
    trained = attach(backbone, LoraOptions(rank=8), 0, torch.float32)
    assert torch.equal(errors(), before)
    list(optimise(trained, made, Schedule(steps=25, batch_size=8, learning_rate=1e-2, ema=0.0), tmp_path))
    gain = before - errors()
    print(family, float(before.mean()), float(gain.mean()), float(gain.mean() / (gain.std() / math.sqrt(64))))
    assert float(gain.mean()) > 6 * float(gain.std()) / math.sqrt(len(gain))  # by chance in one of a billion


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator trained from nothing on the colours."""
    out = tmp_path_factory.mktemp("base") / "generator"
    usual = ScratchConfig()
    config = replace(
        usual, autoencoder=replace(usual.autoencoder, steps=150, batch_size=16), features=replace(usual.features, steps=2),
        decoder=replace(usual.decoder, steps=2), denoiser=replace(usual.denoiser, steps=500, batch_size=16),
    )  # fmt: skip
    for _ in train_from_scratch(coloured(50), out, config):
        pass
    return out


def right(generator_: Path, lora: str, shades: dict[str, tuple[int, int, int]]) -> int:
    """Return how many of `DRAWN` pictures are nearest, of the four colours, to that of their class in `shades`."""
    artist = Artist(Backbone.from_pretrained(str(generator_), loading=Loading(lora=lora)), PRESETS["tiny"])
    requests = TextOnly().plan([], NAMES, DRAWN, Progress(epoch=0, epochs=1), 5)
    hits = 0
    for sample in artist.draw(requests):
        nearest = COLOURS[np.square(COLOURS - mean_colour(sample.image)).sum(axis=1).argmin()]
        hits += bool((nearest == shades[sample.request.class_name]).all())
    return hits


@pytest.mark.slow
@pytest.mark.parametrize("way", ["lora", "full"])
def test_what_is_drawn_takes_the_colours_of_the_data(base: Path, tmp_path: Path, way: str) -> None:
    """The generator knows each class in one colour, the data have it in another. By chance 8 of 32 would be right."""
    options = AdaptOptions(
        lora=LoraOptions(rank=8, text_encoder=True) if way == "lora" else None, steps=300, batch_size=16,
        learning_rate=5e-3 if way == "lora" else 1e-3, sample_every=0,
    )  # fmt: skip
    task = Adaptation(images=coloured(50, OTHERS), prompts=PROMPTS, generator=str(base), out=tmp_path / "out", options=options,
                      drawing=PRESETS["tiny"])  # fmt: skip
    losses = [progress.tick.loss for progress in adapt(task) if progress.tick.loss is not None]
    before = right(base, "", SHADES), right(base, "", OTHERS)
    adapted = (base, str(task.out)) if way == "lora" else (task.out, "")
    after = right(*adapted, SHADES), right(*adapted, OTHERS)
    print(way, np.mean(losses[:50]), np.mean(losses[-50:]), before, after)
    assert before[0] >= 24
    assert before[1] <= 8
    assert after[1] >= 24  # by chance in one of a billion
    assert np.mean(losses[-50:]) < np.mean(losses[:50])
