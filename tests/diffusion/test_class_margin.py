"""What the generator believes of a picture: antisymmetric, the same in any batch, in every family; and worth something."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from actgen.core.class_words import class_prompt
from actgen.core.types import Progress
from actgen.data.datasets.idx import FASHION_MNIST_CLASSES
from actgen.diffusion.class_margin import CLEAREST, NOISIEST, level_timesteps, measure_class_margin
from actgen.diffusion.pipeline import PipelineAdapter
from actgen.diffusion.solvers import alphas_cumprod
from actgen.experiment.build import open_generator
from actgen.generation.presets import PRESETS
from actgen.generation.sampler import ImageSampler
from actgen.generation.strategies.text_only import TextOnly
from tests.support.families import FAMILIES
from tests.support.sampler_parts import state_of

OWN, RIVAL, SEEDS = (
    ["a photo of coat", "a photo of bag", "a photo of coat"],
    ["a photo of bag"] * 2 + ["a photo of coat"],
    [5, 6, 7],
)


def latents(adapter: PipelineAdapter, count: int = 3) -> Tensor:
    return torch.randn((count, *adapter.latent_shape), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module", params=FAMILIES)
def adapter(request: pytest.FixtureRequest) -> Any:
    return PipelineAdapter(FAMILIES[request.param](), request.param)


def test_it_is_antisymmetric_and_bounded(adapter: PipelineAdapter) -> None:
    one = measure_class_margin(adapter, latents(adapter), OWN, RIVAL, SEEDS, 3)
    other = measure_class_margin(adapter, latents(adapter), RIVAL, OWN, SEEDS, 3)
    assert one.shape == (3,)
    assert torch.allclose(one, -other, atol=1e-6)
    assert (one.abs() <= 1).all()
    assert one[:2].abs().max() > 0  # the prompts differ
    assert one[2] == 0  # and here they do not


def test_it_is_the_same_in_any_batch(adapter: PipelineAdapter) -> None:
    together = measure_class_margin(adapter, latents(adapter), OWN, RIVAL, SEEDS, 3)
    alone = [
        measure_class_margin(adapter, latents(adapter)[i : i + 1], OWN[i : i + 1], RIVAL[i : i + 1], SEEDS[i : i + 1], 3)
        for i in range(3)
    ]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)


def test_the_pipeline_is_given_back_as_found(adapter: PipelineAdapter) -> None:
    before = state_of(adapter)
    measure_class_margin(adapter, latents(adapter), OWN, RIVAL, SEEDS, 2)
    assert state_of(adapter) == before


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear"])
@pytest.mark.parametrize("levels", [1, 4, 9])
def test_levels_are_evenly_spaced_in_log_signal_to_noise(schedule: str, levels: int) -> None:
    config = {"beta_schedule": schedule, "beta_start": 0.00085, "beta_end": 0.012, "num_train_timesteps": 1000}
    abar = alphas_cumprod(config)
    steps = level_timesteps(abar, levels)
    assert steps == sorted(steps, reverse=True)
    ratios = (abar / (1 - abar)).log()[steps]
    assert torch.allclose(ratios, torch.linspace(NOISIEST, CLEAREST, levels, dtype=torch.float64), atol=0.05)


def test_the_bundled_generator_knows_what_it_drew() -> None:
    adapter = open_generator("bundled", FASHION_MNIST_CLASSES)
    requests = TextOnly().plan([], FASHION_MNIST_CLASSES, 30, Progress(epoch=0, epochs=1), 3)
    samples = list(ImageSampler(adapter, PRESETS["tiny"]).generate(requests))
    rivals = [class_prompt(FASHION_MNIST_CLASSES[(one.request.label + 3) % 10]) for one in samples]
    found = measure_class_margin(
        adapter,
        torch.stack([one.latents for one in samples]),
        [one.request.prompt for one in samples],
        rivals,
        [one.request.seed for one in samples],
        8,
    )
    assert (found > 0).float().mean() >= 0.9
