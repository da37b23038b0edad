"""Laws of generated images that start from a real image, of guidance by the whole image, and of entropy guidance."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from actgen.classifiers.classifier import Classifier, create_classifier
from actgen.core.frozen import frozen
from actgen.core.types import Request, Sample
from actgen.diffusion.denoising import Batch, ClassifierFreeGuidance, denoise
from actgen.diffusion.guides.entropy import BoundEntropy, EntropyGuidance
from actgen.diffusion.guides.image import ImageGuidance
from actgen.diffusion.pipeline import PipelineAdapter
from actgen.diffusion.solvers import NAMES, make_solver
from actgen.generation.batching import Opener
from actgen.generation.presets import SamplingConfig
from actgen.generation.sampler import ImageSampler
from actgen.generation.sampling_context import SamplingContext
from tests.support.families import CLASSES, EULER_WARNING, FAMILIES
from tests.support.sampler_parts import guide_image, requests
from tests.support.stock import PROMPTS, STOCK, close

SMALL = SamplingConfig(num_inference_steps=4, scheduler="ddim", guidance_scale=1.0)


@pytest.fixture(scope="module")
def adapter() -> PipelineAdapter:
    return PipelineAdapter(FAMILIES["sd1"](), "sd1")


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return create_classifier("actgen/small-cnn", len(CLASSES), data_size=32, seed=1)


def generated(
    adapter: PipelineAdapter, asked: list[Request], sampling: SamplingConfig = SMALL, classifier: Classifier | None = None
) -> list[Sample]:
    return list(
        ImageSampler(adapter, sampling).generate(asked, SamplingContext(guide_image=guide_image, classifier=classifier))
    )


def of_strength(strength: float, guides: tuple[str, ...] = ()) -> list[Request]:
    return [replace(request, strength=strength) for request in requests(2, guides)]


@pytest.mark.parametrize("scheduler", NAMES)
@pytest.mark.parametrize("strength", [0.3, 0.5, 1.0])
@pytest.mark.filterwarnings(EULER_WARNING)
def test_it_equals_the_stock_image_to_image_pipeline(adapter: PipelineAdapter, scheduler: str, strength: float) -> None:
    stock: Any = diffusers.StableDiffusionImg2ImgPipeline(**adapter.pipeline.components, requires_safety_checker=False)
    stock.set_progress_bar_config(disable=True)
    stock.scheduler = getattr(diffusers, STOCK[scheduler]).from_config(dict(stock.scheduler.config))
    source = torch.randn((2, *adapter.latent_shape), generator=torch.Generator().manual_seed(5))
    theirs, ours = (torch.Generator().manual_seed(7) for _ in range(2))
    wanted: Tensor = stock(
        PROMPTS,
        image=source,
        strength=strength,
        num_inference_steps=6,
        guidance_scale=3.0,
        generator=theirs,
        output_type="latent",
    ).images
    solver = make_solver(
        dict(stock.scheduler.config), 6, scheduler=scheduler, previous="stride" if scheduler == "ddim" else "grid"
    )
    noise = torch.randn(source.shape, generator=ours)
    batch = Batch(
        adapter.encode_text(PROMPTS), noise, lambda _: torch.randn(source.shape, generator=ours), source, solver.first(strength)
    )
    with adapter.borrowed():
        *_, last = denoise(adapter, solver, batch, classifier_free_guidance=ClassifierFreeGuidance(scale=3.0))
    if strength == 1.0:  # noise alone: nothing of the source is left, where they leave the little of abar at the first step
        assert solver.first(strength) == 0
        return
    close(last.next_latents, wanted, 1e-4)


@pytest.mark.parametrize("scheduler", NAMES)
def test_a_guide_that_starts_late_still_arrives(adapter: PipelineAdapter, scheduler: str) -> None:
    """Full strength of the whole image gives the guide, wherever the walk begins."""
    sampling = replace(SMALL, num_inference_steps=6, scheduler=scheduler, image=ImageGuidance(mask="none", offset=1e9))
    late, whole = (generated(adapter, of_strength(s, ("whole-image",)), sampling) for s in (0.5, 1.0))
    for one, other in zip(late, whole, strict=True):
        torch.testing.assert_close(one.latents, other.latents, atol=1e-4, rtol=1e-4)


def test_more_strength_is_further_from_the_source(adapter: PipelineAdapter) -> None:
    sampling = replace(SMALL, num_inference_steps=20)
    source = generated(adapter, of_strength(1.0, ("whole-image",)), replace(sampling, image=ImageGuidance(offset=1e9)))
    apart = []
    for strength in (0.1, 0.4, 0.8):
        pairs = zip(generated(adapter, of_strength(strength), sampling), source, strict=True)
        apart.append(sum(float((one.latents - other.latents).norm()) for one, other in pairs))
    assert apart == sorted(apart)


def test_the_whole_image_needs_no_attention(adapter: PipelineAdapter) -> None:
    opener = Opener(adapter, SMALL, ImageSampler(adapter, SMALL).bank, SamplingContext(guide_image=guide_image))
    asked = of_strength(1.0, ("whole-image",))
    with adapter.borrowed():
        assert opener.open(asked, opener.kind(asked[0])).attention_resolution is None
    assert all(sample.mask is None for sample in generated(adapter, asked))


def test_image_to_image_does_not_depend_on_its_batch(adapter: PipelineAdapter, classifier: Classifier) -> None:
    asked = of_strength(0.5, ("entropy",))
    with frozen(classifier):
        together = generated(adapter, asked, classifier=classifier)
        alone = [generated(adapter, [request], classifier=classifier)[0] for request in asked]
    for one, other in zip(together, alone, strict=True):
        close(one.latents, other.latents, 1e-4)


def test_entropy_guidance_of_no_strength_is_identity(adapter: PipelineAdapter, classifier: Classifier) -> None:
    plain = generated(adapter, requests(2, ()))
    with frozen(classifier):
        idle = generated(adapter, requests(2, ("entropy",)), replace(SMALL, entropy=EntropyGuidance(scale=0.0)), classifier)
    for one, other in zip(plain, idle, strict=True):
        assert torch.equal(one.latents, other.latents)


def test_entropy_guidance_raises_the_entropy() -> None:
    """On a linear view of the latents, where it can be followed: each step's x0 moves to where the classes are even."""
    rng = torch.Generator().manual_seed(0)
    weights, x0 = torch.randn((4 * 8 * 8, 4), generator=rng), torch.randn((3, 4, 8, 8), generator=rng)
    solver = make_solver({}, 6, scheduler="ddim")

    def view(latents: Tensor) -> Tensor:
        return 0.1 * latents.flatten(1) @ weights

    guide = BoundEntropy(EntropyGuidance(scale=0.05), solver, view, together=2)
    direction = torch.cat([guide._direction(some) for some in x0.split(2)])
    before, after = (torch.special.entr(view(at).softmax(dim=1)).sum(dim=1) for at in (x0, x0 + 0.005 * direction))
    assert bool((after > before).all())
    torch.testing.assert_close(direction.square().mean(dim=(1, 2, 3)), torch.ones(3))
