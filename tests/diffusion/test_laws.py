"""The laws of the guided sampler, each over every scheduler and every family of pipelines (tiny, real, untrained)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from actgen.classifiers.classifier import Classifier, create_classifier
from actgen.core.types import Sample
from actgen.data.datasets.idx import FASHION_MNIST_CLASSES
from actgen.diffusion.denoising import Batch, BoundGuide, ClassifierFreeGuidance, Step, denoise
from actgen.diffusion.guides.image import BoundImage, ImageGuidance
from actgen.diffusion.guides.text import TextGuidance
from actgen.diffusion.pipeline import PipelineAdapter
from actgen.diffusion.solver import Solver
from actgen.diffusion.solvers import NAMES, make_solver
from actgen.finetune import tiny
from actgen.generation.presets import PRESETS, SamplingConfig
from actgen.generation.sampling_context import SamplingContext
from tests.support.families import EULER_WARNING, FAMILIES, ready, seeded
from tests.support.sampler_parts import ALL, generate, guide_image, requests, state_of
from tests.support.stock import PROMPTS, STOCK, close

every_scheduler = pytest.mark.parametrize("scheduler", NAMES)
every_family = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="module")
def backbones() -> dict[str, PipelineAdapter]:
    return {name: PipelineAdapter(build(), name) for name, build in FAMILIES.items()}


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return create_classifier("actgen/small-cnn", 4, data_size=32, seed=1)


def small(scheduler: str, **more: Any) -> SamplingConfig:
    return SamplingConfig(num_inference_steps=4, scheduler=scheduler, guidance_scale=3.0, **more)


def run(adapter: PipelineAdapter, solver: Solver, batch: Batch, scale: float, **more: Any) -> Tensor:
    with adapter.borrowed():
        *_, last = denoise(adapter, solver, batch, classifier_free_guidance=ClassifierFreeGuidance(scale=scale), **more)
    return last.next_latents


# no guides = the stock pipeline


@every_family
@every_scheduler
@pytest.mark.parametrize(("steps", "scale"), [(4, 1.0), (7, 5.0)])
@pytest.mark.filterwarnings(EULER_WARNING)
def test_no_guides_equal_the_stock_pipeline(
    backbones: dict[str, PipelineAdapter], family: str, scheduler: str, steps: int, scale: float
) -> None:
    adapter = backbones[family]
    pipeline: Any = adapter.pipeline
    found = pipeline.scheduler
    try:
        pipeline.scheduler = getattr(diffusers, STOCK[scheduler]).from_config(dict(found.config))
        stream = torch.Generator().manual_seed(7)
        start = torch.randn((2, *adapter.latent_shape), generator=torch.Generator().manual_seed(5))
        stock: Tensor = pipeline(
            PROMPTS, num_inference_steps=steps, guidance_scale=scale, latents=start, generator=stream, output_type="latent"
        ).images
        config = dict(pipeline.scheduler.config)
    finally:
        pipeline.scheduler = found
    solver = make_solver(config, steps, scheduler=scheduler, previous="stride" if scheduler == "ddim" else "grid")
    ours = torch.Generator().manual_seed(7)
    batch = Batch(adapter.encode_text(PROMPTS), start, lambda _: torch.randn(start.shape, generator=ours))
    close(run(adapter, solver, batch, scale), stock, 1e-4)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("more", [{}, {"use_karras_sigmas": True}, {"rescale_betas_zero_snr": True}], ids=str)
@every_scheduler
@pytest.mark.filterwarnings(EULER_WARNING)
def test_a_walk_is_the_scheduler_of_that_name(scheduler: str, prediction: str, spacing: str, more: dict[str, Any]) -> None:
    """On a smooth stand-in for the network, for every spacing, and with the noise schedules that people use."""
    if prediction == "epsilon" and "rescale_betas_zero_snr" in more:
        pytest.skip("epsilon at zero signal has no clean image")
    config = {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "clip_sample": False,
        "steps_offset": 1,
        "prediction_type": prediction,
        "timestep_spacing": spacing,
        **more,
    }
    kind = getattr(diffusers, STOCK[scheduler])
    stock = kind.from_config({k: v for k, v in config.items() if k in kind._get_init_keys(kind)})
    stock.set_timesteps(9)
    solver = make_solver(stock.config, 9, scheduler=scheduler, previous="stride" if scheduler == "ddim" else "grid")
    noise = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(1))
    x, ours, last = noise * stock.init_noise_sigma, noise * solver.start, None
    streams = [torch.Generator().manual_seed(7) for _ in range(2)]
    generates = {} if scheduler == "dpm++" else {"generator": streams[0]}
    for index, timestep in enumerate(stock.timesteps):
        assert float(timestep) == float(solver.timesteps[index])
        scaled = stock.scale_model_input(x, timestep)
        x = stock.step(torch.tanh(0.5 * scaled), timestep, x, **generates).prev_sample
        x0 = solver.x0(ours, torch.tanh(0.5 * ours), index)
        ours = solver.advance(ours, x0, torch.randn(noise.shape, generator=streams[1]), index, last)
        last = x0
    close(ours, x, 2e-3 if "rescale_betas_zero_snr" in more else 2e-4)


# full strength = the guide


@every_family
@every_scheduler
@pytest.mark.parametrize("steps", [1, 6])
def test_full_strength_gives_the_guide(backbones: dict[str, PipelineAdapter], family: str, scheduler: str, steps: int) -> None:
    adapter = backbones[family]
    solver = make_solver(adapter.pipeline.scheduler.config, steps, scheduler=scheduler)
    rng = torch.Generator().manual_seed(1)
    guide, start, own = (torch.randn((2, *adapter.latent_shape), generator=rng) for _ in range(3))
    image = BoundImage(ImageGuidance(mask="none", offset=1e9), solver, guide, own, [[1], [1]])
    batch = Batch(adapter.encode_text(PROMPTS), start, lambda _: torch.randn(guide.shape, generator=rng))
    torch.testing.assert_close(run(adapter, solver, batch, 1.0, guides=[image]), guide, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_a_guide_walks_by_itself_to_its_clean_latent(eta: float, spacing: str, prediction: str) -> None:
    config = {"num_train_timesteps": 1000, "timestep_spacing": spacing, "prediction_type": prediction}
    arrives(make_solver(config, 6, scheduler="ddim", eta=eta))


@every_scheduler
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_a_guide_walks_by_itself_under_every_scheduler(scheduler: str, spacing: str) -> None:
    arrives(make_solver({"timestep_spacing": spacing}, 6, scheduler=scheduler))


def arrives(solver: Solver) -> None:
    """A trajectory whose clean latent is known is at every step at that step's noise level, and clean at the end."""
    rng = torch.Generator().manual_seed(1)
    guide, x = torch.randn((2, 4, 32, 32), generator=rng), torch.randn((2, 4, 32, 32), generator=rng)
    for index in range(len(solver)):
        noise = (x - float(solver.signal[index]) * guide) / float(solver.level[index])
        assert index == 0 or float(noise.std()) == pytest.approx(1.0, abs=0.05)
        x = solver.advance(x, guide, torch.randn(guide.shape, generator=rng), index, guide if index else None)
    torch.testing.assert_close(x, guide, atol=1e-4, rtol=1e-4)


# zero strength = identity


@every_family
@every_scheduler
def test_zero_strength_is_identity(
    backbones: dict[str, PipelineAdapter], classifier: Classifier, family: str, scheduler: str
) -> None:
    sampling = small(scheduler)
    nothing = replace(sampling, image=ImageGuidance(strength=0.0), text=replace(sampling.text, step_size=0.0))
    plain = generate(backbones[family], requests(2, ()), classifier, sampling)
    assert_same(plain, generate(backbones[family], requests(2, ALL), classifier, nothing))


def assert_same(generated: list[Sample], others: list[Sample], tolerance: float = 1e-5) -> None:
    assert [one.request.key for one in generated] == [other.request.key for other in others]
    for one, other in zip(generated, others, strict=True):
        close(one.latents, other.latents, tolerance)


@every_family
@pytest.mark.parametrize("guides", [("image",), ("contrastive",), ("adversarial",)])
def test_every_guide_matters(
    backbones: dict[str, PipelineAdapter], classifier: Classifier, family: str, guides: tuple[str, ...]
) -> None:
    sampling = small("ddim", text=TextGuidance(margin=1e5))  # untrained networks generate far away from any bank
    plain = generate(backbones[family], requests(2, ()), classifier, sampling)
    for one, other in zip(plain, generate(backbones[family], requests(2, guides), classifier, sampling), strict=True):
        assert float((one.latents - other.latents).abs().max()) > 1e-5


# the same picture in any batch


@every_family
@every_scheduler
def test_same_picture_in_any_batch(
    backbones: dict[str, PipelineAdapter], classifier: Classifier, family: str, scheduler: str
) -> None:
    sampling = small(scheduler, batch_size=16)
    # The direction of a gradient magnifies rounding where the gradient of an untrained network is nearly nothing.
    for guides, tolerance in ((("image",), 1e-5), (ALL, 1e-4)):
        together = generate(backbones[family], requests(5, guides), classifier, sampling)
        for size in (1, 3):
            alone = generate(backbones[family], requests(5, guides), classifier, replace(sampling, batch_size=size))
            assert_same(together, alone, tolerance)


@pytest.fixture(scope="module")
def bundled_architecture() -> PipelineAdapter:
    with seeded():
        tokenizer = tiny.build_tokenizer(FASHION_MNIST_CLASSES)
        pipeline = tiny.assemble(tiny.build_autoencoder(), tiny.build_unet(), tiny.build_text_encoder(tokenizer), tokenizer)
    return PipelineAdapter(ready(pipeline), "untrained")


@pytest.mark.parametrize("guides", [(), ("image",), ("image", "contrastive"), ALL])
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_same_picture_in_any_batch_in_the_bundled_architecture(
    bundled_architecture: PipelineAdapter, classifier: Classifier, guides: tuple[str, ...], eta: float
) -> None:
    sampling = SamplingConfig(
        num_inference_steps=5, scheduler="ddim", guidance_scale=3.0, guidance_start=0.0, guidance_stop=1.0, eta=eta
    )
    together = generate(bundled_architecture, requests(6, guides), classifier, sampling)
    for size in (1, 4):
        others = generate(bundled_architecture, requests(6, guides), classifier, replace(sampling, batch_size=size))
        for one, other in zip(together, others, strict=True):
            assert one.request == other.request
            torch.testing.assert_close(
                pixels(bundled_architecture, one), pixels(bundled_architecture, other), atol=1e-5, rtol=0
            )
            close(one.latents, other.latents)  # a mask of untrained attention, nearly flat, magnifies rounding


def pixels(adapter: PipelineAdapter, sample: Sample) -> Tensor:
    """The picture in [0, 1], before it is rounded to grey levels."""
    with torch.no_grad():
        return adapter.decode(sample.latents[None])


@pytest.mark.parametrize("rank", range(4))
def test_same_picture_on_any_rank(backbones: dict[str, PipelineAdapter], classifier: Classifier, rank: int) -> None:
    """A rank's share is every fourth request."""
    sampling = small("ddpm")
    together = generate(backbones["sd1"], requests(8, ALL), classifier, sampling)
    assert_same(together[rank::4], generate(backbones["sd1"], requests(8, ALL)[rank::4], classifier, sampling), 1e-4)


@pytest.mark.parametrize("preset", sorted(set(PRESETS) - {"tiny"}))
@every_family
def test_every_preset_draws_on_every_family(
    backbones: dict[str, PipelineAdapter], classifier: Classifier, family: str, preset: str
) -> None:
    sampling = replace(PRESETS[preset], num_inference_steps=3)
    assert len(generate(backbones[family], requests(2, ALL), classifier, sampling)) == 2


# given back as found


class Failing(BoundGuide):
    """A guide that asks for everything and raises in step 2."""

    words = ((1,),)

    def reads_attention(self, index: int) -> bool:
        return True

    def gradient_branches(self, index: int) -> int:
        return 1

    def apply(self, step: Step) -> Step:
        if step.index == 2:
            raise RuntimeError("in the middle")
        return step


def walk_on(adapter: PipelineAdapter, scheduler: str) -> Iterator[Step]:
    zeros = torch.zeros(1, *adapter.latent_shape)
    batch = Batch(adapter.encode_text(["a photo of bag"]), zeros, lambda _: zeros)
    solver = make_solver(adapter.pipeline.scheduler.config, 5, scheduler=scheduler)
    return denoise(
        adapter,
        solver,
        batch,
        classifier_free_guidance=ClassifierFreeGuidance(scale=2.0),
        guides=[Failing()],
        attention_resolution=8,
    )


@pytest.fixture
def used(backbones: dict[str, PipelineAdapter], family: str) -> Iterator[PipelineAdapter]:
    """A pipeline as somebody may hand it over in the middle of training it: train mode, gradients on, some flags set."""
    adapter = backbones[family]
    for network in adapter.networks:
        network.train().requires_grad_(True)
    adapter.vae.enable_tiling()
    yield adapter
    adapter.vae.disable_tiling()
    for network in adapter.networks:
        network.eval().requires_grad_(False)


@every_family
@every_scheduler
def test_given_back_as_found(used: PipelineAdapter, classifier: Classifier, family: str, scheduler: str) -> None:
    before = state_of(used)
    generate(used, requests(2, ALL), classifier, replace(PRESETS["turbo"], scheduler=scheduler))
    assert state_of(used) == before


@every_family
@every_scheduler
def test_given_back_as_found_after_an_exception(used: PipelineAdapter, family: str, scheduler: str) -> None:
    before = state_of(used)
    with pytest.raises(RuntimeError, match="in the middle"), used.borrowed():
        list(walk_on(used, scheduler))
    assert state_of(used) == before


@every_family
def test_given_back_as_found_when_the_opponent_raises(used: PipelineAdapter, family: str) -> None:
    before = state_of(used)
    broken = create_classifier("actgen/small-cnn", 2, data_size=32)  # two classes for four labels
    with pytest.raises(IndexError, match="out of bounds"):
        generate(used, requests(4, ALL), broken, small("ddim"))
    assert state_of(used) == before


@every_family
def test_given_back_as_found_while_the_caller_looks(used: PipelineAdapter, classifier: Classifier, family: str) -> None:
    from tests.support.sampler_parts import filled_artist

    before = state_of(used)
    samples = filled_artist(used, small("ddim", batch_size=1)).generate(
        requests(2, ("image",)), SamplingContext(guide_image=guide_image)
    )
    next(samples)
    assert state_of(used) == before
    samples.close()  # type: ignore[attr-defined]
    assert state_of(used) == before
