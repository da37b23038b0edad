"""The noise level under an image guide is what the network expects, under every solver (bundled generator, real guides)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from PIL import Image

from actgen.core.assets import bundled_generator
from actgen.core.class_words import class_prompt
from actgen.core.errors import UserError
from actgen.core.types import Request, Source
from actgen.data.datasets.sources import load_data
from actgen.diffusion.denoising import denoise
from actgen.diffusion.guides.bank import MemoryBank
from actgen.diffusion.guides.image import ImageGuidance
from actgen.diffusion.pipeline import PipelineAdapter
from actgen.diffusion.solvers import NAMES
from actgen.generation.batching import Kind, Opener, make_own_solver
from actgen.generation.presets import PRESETS, SamplingConfig
from actgen.generation.sampling_context import SamplingContext

STOCHASTIC = ("ddpm", "euler-ancestral", "lcm")
DETERMINISTIC = tuple(name for name in NAMES if name not in STOCHASTIC)
IMAGES = 20
Real = tuple[list[Request], Callable[[Request], Image.Image]]


@pytest.fixture(scope="module")
def adapter() -> PipelineAdapter:
    return PipelineAdapter.from_pretrained(str(bundled_generator()))


@pytest.fixture(scope="module")
def real() -> Real:
    """Requests with a real image each to be guided by, all classes in turn."""
    train = load_data("fashion-mnist-mini").train
    labels = list(train.labels)
    indices = [[i for i, label in enumerate(labels) if label == n % 10][n // 10] for n in range(IMAGES)]
    requests = [
        Request(
            key=f"k{n}",
            label=labels[i],
            class_name=(name := train.class_names[labels[i]]),
            prompt=class_prompt(name),
            seed=100 + n,
            strategy="test",
            round=0,
            source=Source(split="train", index=i, key=train.keys[i]),
            guides=("image",),
        )
        for n, i in enumerate(indices)
    ]
    return requests, lambda request: train.image(request.source.index if request.source else 0)


def spreads(adapter: PipelineAdapter, sampling: SamplingConfig, real: Real, guides: tuple[str, ...]) -> list[float]:
    """Return the standard deviation of the latents that enter each step."""
    requests, guide_image = real
    opened = Opener(adapter, sampling, MemoryBank(), SamplingContext(guide_image=guide_image)).open(requests, Kind(guides, 1.0))
    with torch.no_grad(), adapter.borrowed():
        return [
            float(step.latents.std())
            for step in denoise(
                adapter,
                opened.solver,
                opened.batch,
                classifier_free_guidance=sampling.classifier_free_guidance,
                guides=opened.guides,
                attention_resolution=opened.attention_resolution,
            )
        ]


def drifts(adapter: PipelineAdapter, real: Real, scheduler: str, noise: str) -> list[float]:
    """Return how far an image guide takes the spread from that of the words alone, relative, by step."""
    tiny = PRESETS["tiny"]
    sampling = replace(tiny, scheduler=scheduler, image=replace(tiny.image, noise=noise))
    plain, guided = (spreads(adapter, sampling, real, guides) for guides in ((), ("image",)))
    return [abs(one / other - 1) for one, other in zip(guided, plain, strict=True)]


@pytest.mark.parametrize("scheduler", DETERMINISTIC)
def test_shared_noise_keeps_the_spread_of_the_words_alone(adapter: PipelineAdapter, real: Real, scheduler: str) -> None:
    assert max(drifts(adapter, real, scheduler, "auto")) < 0.02
    assert max(drifts(adapter, real, scheduler, "own")) > 0.1  # so the law tells the two apart


@pytest.mark.parametrize("scheduler", STOCHASTIC)
def test_step_noise_brings_a_guide_of_its_own_noise_back(adapter: PipelineAdapter, real: Real, scheduler: str) -> None:
    """DDPM's first bent step is 7% narrow; the noise that both share in the next one mends it."""
    assert max(drifts(adapter, real, scheduler, "auto")[2:]) < 0.05
    assert max(drifts(adapter, real, scheduler, "shared")) < 0.05


@pytest.mark.parametrize("scheduler", NAMES)
def test_what_auto_is(adapter: PipelineAdapter, scheduler: str) -> None:
    solver = make_own_solver(adapter, replace(PRESETS["tiny"], scheduler=scheduler))
    assert ImageGuidance().shares_noise(solver) == (scheduler in DETERMINISTIC)
    assert ImageGuidance(noise="shared").shares_noise(solver)
    assert not ImageGuidance(noise="own").shares_noise(solver)


def test_released_presets_have_a_noise_of_their_own() -> None:
    assert PRESETS["code"].image.noise == PRESETS["paper"].image.noise == "own"


def test_another_noise_is_refused() -> None:
    with pytest.raises(UserError, match="auto, shared, own"):
        ImageGuidance(noise="both")
