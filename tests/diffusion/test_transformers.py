"""The laws of the engine over every known family of transformers: tiny, real, untrained, called through their pipelines."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import diffusers
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor
from torch.nn import functional as F

from actgen.classifiers.classifier import Classifier, create_classifier
from actgen.core.errors import UserError
from actgen.core.frozen import frozen
from actgen.diffusion.backbone import Words
from actgen.diffusion.class_margin import CLEAREST, NOISIEST, measure_class_margin, noise_levels
from actgen.diffusion.denoising import Batch, BoundGuide, ClassifierFreeGuidance, Step, denoise
from actgen.diffusion.families import CROSS, FAMILIES
from actgen.diffusion.flow_solvers import FLOW_NAMES
from actgen.diffusion.guides import text
from actgen.diffusion.guides.bank import MemoryBank
from actgen.diffusion.guides.image import BoundImage, ImageGuidance
from actgen.diffusion.guides.text import TextGuidance
from actgen.diffusion.hearing import AttentionCall, listening
from actgen.diffusion.loading import Loading
from actgen.diffusion.one_step import plan, predict_once
from actgen.diffusion.pipeline import PipelineAdapter
from actgen.diffusion.solver import Solver
from actgen.diffusion.transformer_attention import attention_layers
from actgen.diffusion.transformer_backbone import TransformerBackbone, pack, unpack
from actgen.generation.batching import Opener
from actgen.generation.presets import SamplingConfig
from actgen.generation.sampler import ImageSampler
from actgen.generation.sampling_context import SamplingContext
from tests.support.families import EULER_WARNING, build_sdxl
from tests.support.families import FAMILIES as UNETS
from tests.support.sampler_parts import filled_artist, guide_image, requests
from tests.support.stock import close
from tests.support.transformer_families import TRANSFORMERS, build_sd3, pixels_of

pytestmark = [
    pytest.mark.filterwarnings(EULER_WARNING),
    pytest.mark.filterwarnings("ignore:`FluxPosEmbed` is deprecated:FutureWarning"),  # in diffusers' own Chroma
]
SHORT = ("a photo of coat", "a photo of boot")  # as long as each other in every tokenizer
every_family = pytest.mark.parametrize("family", TRANSFORMERS)
# The rest is slow: the laws below go through the same code for all.
SOME = ("sd3", "flux-dev", "z-image", "sana")
some_families = pytest.mark.parametrize(
    "family", [name if name in SOME else pytest.param(name, marks=pytest.mark.slow) for name in TRANSFORMERS]
)
SCALE = 3.0


@cache
def adapter_of(family: str) -> PipelineAdapter:
    return PipelineAdapter(TRANSFORMERS[family](), family, "0", Loading(image_size=pixels_of(family)))


def backbone_of(family: str) -> TransformerBackbone:
    backbone = adapter_of(family).backbone
    assert isinstance(backbone, TransformerBackbone)
    return backbone


@pytest.fixture
def adapter(family: str) -> PipelineAdapter:
    return adapter_of(family)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return create_classifier("actgen/small-cnn", 4, data_size=32, seed=1)


def start_of(adapter: PipelineAdapter, count: int = 2) -> Tensor:
    return torch.randn((count, *adapter.latent_shape), generator=torch.Generator().manual_seed(5))


def walk(
    adapter: PipelineAdapter, solver: Solver, batch: Batch, guides: Sequence[BoundGuide] = (), scale: float = SCALE
) -> Tensor:
    with adapter.borrowed():
        *_, last = denoise(
            adapter,
            solver,
            batch,
            classifier_free_guidance=ClassifierFreeGuidance(scale=scale),
            guides=guides,
            attention_resolution=adapter.map_resolution(0),
        )
    return last.next_latents


def quiet(adapter: PipelineAdapter, prompts: Sequence[str] = SHORT) -> Batch:
    return Batch(adapter.encode_text(prompts), start_of(adapter, len(prompts)), lambda _: torch.zeros(()))


def as_stock(family: str, latents: Tensor) -> Tensor:
    """Arrange latents as the pipeline returns them."""
    backbone = backbone_of(family)
    if backbone.family.latent == "folded":
        return adapter_of(family).latents.to_raw(latents)
    return pack(latents) if backbone.family.latent == "packed" else latents


class Reader(BoundGuide):
    """Reads the attention to some words and changes nothing."""

    def __init__(self, words: Words) -> None:
        self.words = words
        self.seen: list[Tensor] = []

    def reads_attention(self, index: int) -> bool:
        return True

    def apply(self, step: Step) -> Step:
        assert step.attention is not None
        self.seen.append(step.attention)
        return step


def reader(adapter: PipelineAdapter, prompts: Sequence[str] = SHORT) -> Reader:
    return Reader([adapter.token_positions(prompt, prompt.removeprefix("a photo of ")) for prompt in prompts])


# 1 and 2: without guides it is the stock pipeline, on the stock schedule


@every_family
def test_no_guides_equal_the_stock_pipeline(adapter: PipelineAdapter, family: str) -> None:
    backbone, pipeline = backbone_of(family), adapter.pipeline
    solver = adapter.solver(3, scheduler="auto")
    told = backbone._told(start_of(adapter), SCALE, SHORT)
    stock = pipeline(num_inference_steps=3, output_type="latent", **told).images
    assert torch.equal(torch.as_tensor(pipeline.scheduler.timesteps).float(), solver.timesteps.float())
    if adapter.is_flow:
        assert torch.equal(torch.as_tensor(pipeline.scheduler.sigmas)[:-1].double(), solver.level)
    ours = as_stock(family, walk(adapter, solver, quiet(adapter)))
    close(ours, stock, 1e-4 if family == "klein" else 1e-5)  # trap: klein undoes its norm with an epsilon


@pytest.mark.parametrize("name", FLOW_NAMES)
def test_each_flow_solver_is_the_stock_scheduler(name: str) -> None:
    adapter = PipelineAdapter(build_sd3(), "sd3", "0", Loading(image_size=32))
    pipeline = adapter.pipeline
    if name == "dpm++":
        flow: dict[str, Any] = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
        pipeline.scheduler = DPMSolverMultistepScheduler(**flow)
    else:
        pipeline.scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, stochastic_sampling=name == "lcm")
    start, told = start_of(adapter), {"height": 32, "width": 32, "num_inference_steps": 4, "output_type": "latent"}
    with torch.random.fork_rng(devices=[]):  # from which diffusers takes this noise
        torch.manual_seed(7)
        stock = pipeline(list(SHORT), latents=start, **told).images
    ours = torch.Generator().manual_seed(7)
    batch = Batch(adapter.encode_text(SHORT), start, lambda _: torch.randn(start.shape, generator=ours))
    solver = adapter.solver(4, scheduler="auto")
    assert torch.equal(solver.x_weight, adapter.solver(4, scheduler=name).x_weight)
    close(walk(adapter, solver, batch, scale=7.0), stock)


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("name", FLOW_NAMES)
def test_a_guide_walks_by_itself_to_its_clean_latent(name: str, steps: int) -> None:
    solver = adapter_of("sd3").solver(steps, scheduler=name)
    rng = torch.Generator().manual_seed(1)
    guide, x = torch.randn((2, 4, 32, 32), generator=rng), torch.randn((2, 4, 32, 32), generator=rng)
    for index in range(steps):
        noise = (x - float(solver.signal[index]) * guide) / float(solver.level[index])
        assert float(noise.std()) == pytest.approx(1.0, abs=0.05)
        x = solver.advance(x, guide, torch.randn(guide.shape, generator=rng), index, guide if index else None)
    torch.testing.assert_close(x, guide, atol=1e-5, rtol=1e-5)


# 3 and 8: a guide without strength, and one that only listens, change no bit


@every_family
def test_listening_and_zero_strength_change_no_bit(adapter: PipelineAdapter) -> None:
    solver = adapter.solver(2, scheduler="auto")
    listener = reader(adapter)
    still = BoundImage(ImageGuidance(strength=0.0), solver, start_of(adapter), start_of(adapter), listener.words)
    plain, guided = walk(adapter, solver, quiet(adapter)), walk(adapter, solver, quiet(adapter), [listener, still])
    assert torch.equal(plain, guided)
    side = adapter.map_resolution(0)
    assert [tuple(maps.shape) for maps in listener.seen] == [(1, 2, side, side)] * 2
    assert all(bool((maps >= 0).all()) and float(maps.std()) > 0 for maps in listener.seen)


# 4: full strength of the whole image gives the guide


@every_family
@pytest.mark.parametrize("name", ["auto", "lcm"])
def test_full_strength_gives_the_guide(adapter: PipelineAdapter, name: str) -> None:
    if name != "auto" and not adapter.is_flow:
        pytest.skip("its schedule has no name for that")
    solver = adapter.solver(2, scheduler=name)
    rng = torch.Generator().manual_seed(1)
    guide, own = (torch.randn((2, *adapter.latent_shape), generator=rng) for _ in range(2))
    image = BoundImage(ImageGuidance(mask="none", offset=1e9), solver, guide, own, [[1], [1]])
    batch = replace(quiet(adapter), noise_at=lambda _: torch.randn(guide.shape, generator=rng))
    torch.testing.assert_close(walk(adapter, solver, batch, [image], 1.0), guide, atol=1e-5, rtol=1e-5)


# 5: image-to-image is the stock pipeline's


@pytest.mark.parametrize(
    ("family", "kind"),
    [
        ("sd3", "StableDiffusion3Img2ImgPipeline"),
        ("flux-dev", "FluxImg2ImgPipeline"),
        ("qwen", "QwenImageImg2ImgPipeline"),
        ("z-image", "ZImageImg2ImgPipeline"),
    ],
)
@pytest.mark.parametrize("strength", [0.5, 0.7])
def test_it_equals_the_stock_image_to_image_pipeline(family: str, kind: str, strength: float) -> None:
    adapter, backbone = adapter_of(family), backbone_of(family)
    stock = getattr(diffusers, kind)(**{k: v for k, v in adapter.pipeline.components.items() if v is not None})
    stock.set_progress_bar_config(disable=True)
    pixels = torch.rand((2, 3, 32, 32), generator=torch.Generator().manual_seed(3))
    noise = torch.randn((2, *adapter.latent_shape), generator=torch.Generator().manual_seed(4))
    told = backbone._told(start_of(adapter), SCALE, SHORT)
    del told["latents"]
    source = adapter.encode_image(pixels * 2 - 1, torch.zeros_like(noise))
    with pytest.MonkeyPatch.context() as patch:  # the posterior's mean, and the noise: their order of drawing is not ours
        module = inspect.getmodule(kind_of := type(stock))
        assert module is not None
        patch.setattr(module, "randn_tensor", lambda shape, **_: noise.reshape(shape))
        patch.setattr(module, "retrieve_latents", lambda out, **_: out.latent_dist.mode())
        assert kind_of.__name__ == kind
        wanted = stock(image=pixels, strength=strength, num_inference_steps=5, output_type="latent", **told).images
    solver = adapter.solver(5, scheduler="auto")
    batch = Batch(adapter.encode_text(SHORT), noise, lambda _: torch.zeros(()), source, solver.first(strength))
    close(as_stock(family, walk(adapter, solver, batch)), wanted)


# 6: the same picture in any batch, with texts of different length


@some_families
def test_same_picture_in_any_batch(adapter: PipelineAdapter, classifier: Classifier) -> None:
    sampling = SamplingConfig(
        num_inference_steps=3,
        scheduler="auto",
        guidance_scale=SCALE,
        image=ImageGuidance(position="noise"),
        text=TextGuidance(until=0.5, margin=1e5),
    )
    wanted = requests(4, ("image", "contrastive", "adversarial"))
    context = SamplingContext(guide_image=guide_image, classifier=classifier)
    with frozen(classifier):
        runs = [list(filled_artist(adapter, replace(sampling, batch_size=n)).generate(wanted, context)) for n in (4, 1)]
    for one, other in zip(*runs, strict=True):
        assert one.request == other.request
        close(one.latents, other.latents, 1e-4)
        assert one.mask is not None


# 7: the pipeline comes back as it was found


def state_of(adapter: PipelineAdapter) -> Any:
    pipeline = adapter.pipeline
    modules = [(name, module) for network in adapter.networks for name, module in network.named_modules()]
    return (
        {name: id(value) for name, value in pipeline.__dict__.items()},
        dict(pipeline.config),
        dict(pipeline.scheduler.config),
        str(pipeline.scheduler.timesteps),
        [(name, module.training, len(module._forward_hooks), len(module._forward_pre_hooks)) for name, module in modules],
        [id(getattr(module, "processor", None)) for _, module in modules],
        [(id(p), p.requires_grad, p.dtype) for network in adapter.networks for p in network.parameters()],
        len(torch.overrides._get_current_function_mode_stack()),
    )


class Failing(Reader):
    """Asks for everything and raises."""

    def gradient_branches(self, index: int) -> int:
        return 1

    def apply(self, step: Step) -> Step:
        raise RuntimeError("in the middle")


@every_family
def test_given_back_as_found(adapter: PipelineAdapter) -> None:
    for network in adapter.networks:
        network.train().requires_grad_(True)
    before = state_of(adapter)
    try:
        walk(adapter, adapter.solver(2, scheduler="auto"), quiet(adapter), [reader(adapter)])
        assert state_of(adapter) == before
        with pytest.raises(RuntimeError, match="in the middle"):
            walk(adapter, adapter.solver(2, scheduler="auto"), quiet(adapter), [Failing(reader(adapter).words)])
        assert state_of(adapter) == before
        layer = attention_layers(backbone_of(adapter.name).network, backbone_of(adapter.name).family)[0]
        broken = layer.register_forward_pre_hook(_raise)
        with pytest.raises(RuntimeError, match="in a layer"):
            walk(adapter, adapter.solver(2, scheduler="auto"), quiet(adapter), [reader(adapter)])
        broken.remove()
        assert state_of(adapter) == before
    finally:
        for network in adapter.networks:
            network.eval().requires_grad_(False)


def _raise(*_: object) -> None:
    raise RuntimeError("in a layer")


# 9 and 10: shares are those of an explicit softmax, and rows are where the table says


class Calls:
    """Keeps the first attention call of each layer."""

    def __init__(self) -> None:
        self.calls: dict[int, AttentionCall] = {}

    def hear(self, layer: int, call: AttentionCall) -> None:
        self.calls.setdefault(layer, call)


def heard(family: str, x: Tensor, text_1BLD: Tensor | None = None, prompts: Sequence[str] = SHORT[:1]) -> AttentionCall:
    """Return the attention of the first layer that is read, without guidance."""
    adapter, backbone, calls = adapter_of(family), backbone_of(family), Calls()
    conditions = adapter.encode_text(prompts)
    if text_1BLD is not None:
        conditions = replace(conditions, text_2BLD=text_1BLD)
    early = replace(backbone.family, part=(0.0, 0.0))
    with torch.no_grad(), adapter.borrowed(), listening(attention_layers(backbone.network, early), calls):
        adapter.predict(x, torch.tensor(500.0), conditions, 1.0)
    return calls.calls[0]


@every_family
def test_a_row_of_text_and_a_patch_are_where_the_table_says(family: str) -> None:
    adapter, row = backbone_of(family).family, 2
    whole = adapter_of(family)
    x, text = start_of(whole, 1), whole.encode_text(SHORT[:1]).text_2BLD
    plain = heard(family, x)
    changed = text.clone()
    changed[0, 0, row] += torch.randn(text.shape[-1], generator=torch.Generator().manual_seed(2)) * text.std()
    side, places = whole.map_resolution(0), whole.map_resolution(0) ** 2
    text_at = 0 if adapter.sequence == CROSS else adapter.registers
    image_at = plain.query.shape[-2] - places
    if adapter.sequence == "image first":
        text_at, image_at = -(-places // adapter.pad) * adapter.pad, 0
    moved = (heard(family, x, changed).key - plain.key).abs().amax(dim=(0, 1, 3))
    assert int(moved.argmax()) == text_at + row
    patch = x.clone()
    size = x.shape[-1] // side
    patch[:, :, 2 * size : 3 * size, 3 * size : 4 * size] += 1.0
    moved = (heard(family, patch).query - plain.query).abs().amax(dim=(0, 1, 3))
    assert int(moved.argmax()) == image_at + 2 * side + 3


@every_family
def test_shares_are_those_of_an_explicit_softmax(family: str) -> None:
    adapter, row = adapter_of(family), backbone_of(family).family
    call, listener = heard(family, start_of(adapter, 1)), reader(adapter, SHORT[:1])
    query, key = call.query, call.key
    if query.shape[1] != key.shape[1]:
        key = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)
    scores = query @ key.mT * (call.told.get("scale") or query.shape[-1] ** -0.5)
    if call.mask is not None:
        scores = scores.masked_fill(~call.mask, -torch.inf) if call.mask.dtype == torch.bool else scores + call.mask
    chances = scores.softmax(dim=-1).mean(dim=1)[0]
    side = adapter.map_resolution(0)
    first_image = 0 if row.sequence != "text first" else query.shape[-2] - side**2
    text_at = {"cross": 0, "text first": row.registers, "image first": -(-(side**2) // row.pad) * row.pad}[row.sequence]
    real = adapter.real_tokens(SHORT[0]).nonzero()[:, 0] + text_at
    ours = chances[first_image : first_image + side**2]
    wanted = ours[:, torch.tensor(listener.words[0]) + text_at].sum(dim=-1)
    if row.sequence != CROSS:
        wanted = wanted / (ours[:, real].sum(dim=-1) + 1e-8)
    backbone = backbone_of(family)
    before, backbone.family = row, replace(row, part=(0.0, 0.0))
    try:
        with torch.no_grad(), adapter.borrowed(), adapter.recording([listener.words], side) as recorder:
            adapter.predict(start_of(adapter, 1), torch.tensor(500.0), adapter.encode_text(SHORT[:1]), 1.0)
            found = recorder.take(1)
    finally:
        backbone.family = before
    torch.testing.assert_close(found.flatten(), wanted, atol=1e-6, rtol=1e-5)


# 11: the map is that of the prompts' branch


@every_family
def test_the_map_under_guidance_is_the_map_without(adapter: PipelineAdapter) -> None:
    if adapter.embeds_guidance_scale:
        pytest.skip("the scale is told to the network, and changes what it does")
    listener, x, conditions = reader(adapter), start_of(adapter), adapter.encode_text(SHORT)
    maps = []
    for scale in (1.0, SCALE):
        with torch.no_grad(), adapter.borrowed(), adapter.recording([listener.words], adapter.map_resolution(0)) as recorder:
            adapter.predict(x, torch.tensor(500.0), conditions, scale)
            maps.append(recorder.take(2))
    torch.testing.assert_close(maps[0], maps[1], atol=1e-6, rtol=1e-5)


# 12: class words are found in every encoder


@every_family
def test_class_words_are_found_where_the_embedding_changes(adapter: PipelineAdapter) -> None:
    rows = adapter.token_positions(SHORT[0], "coat")
    one, other = (adapter.encode_text([prompt]).text_2BLD[-1, 0] for prompt in SHORT)
    moved = (one - other).abs().mean(dim=-1)
    before = moved[: min(rows)]
    assert rows == adapter.token_positions(SHORT[1], "boot")
    assert moved[rows].mean() > 2 * before.mean()
    assert bool(adapter.real_tokens(SHORT[0])[rows].all())
    with pytest.raises(UserError, match="is not in the prompt"):
        adapter.token_positions(SHORT[0], "dress")


# 13: no gradient from one image to another's text


@every_family
def test_the_gradient_of_an_image_reaches_its_own_text_alone(adapter: PipelineAdapter) -> None:
    conditions = adapter.encode_text(["a photo of coat", "a photo of ankle boot"])
    text = conditions.text_2BLD.clone().requires_grad_()
    with torch.enable_grad(), adapter.borrowed():
        out = adapter.predict(start_of(adapter), torch.tensor(500.0), replace(conditions, text_2BLD=text), SCALE, graph=1)
        (gradient,) = torch.autograd.grad(out[0].square().sum(), text)
    assert float(gradient[0, 0].abs().max()) > 0
    assert float(gradient[0, 1].abs().max()) == 0


# 14: latents are in the autoencoder's units


@every_family
def test_decoding_is_the_stock_pipelines(adapter: PipelineAdapter, family: str) -> None:
    told = backbone_of(family)._told(start_of(adapter), 1.0, SHORT)
    latents = adapter.pipeline(num_inference_steps=2, output_type="latent", **told).images
    told["prompt"] = list(SHORT)  # Z-Image writes its template into the list that it is given
    pictures = adapter.pipeline(num_inference_steps=2, output_type="pt", **told).images
    kind = backbone_of(family).family.latent
    ours = unpack(latents, *adapter.latent_shape[1:]) if kind == "packed" else latents
    if kind == "folded":
        ours = adapter.latents.to_units(ours)
    with torch.no_grad():
        torch.testing.assert_close(adapter.decode(ours), pictures, atol=1e-4, rtol=0)


@every_family
def test_encoding_inverts_the_units_of_decoding(adapter: PipelineAdapter) -> None:
    pixels = torch.rand((2, 3, adapter.image_size, adapter.image_size), generator=torch.Generator().manual_seed(3)) * 2 - 1
    latents = adapter.encode_image(pixels, torch.zeros((2, *adapter.latent_shape)))
    assert latents.shape == (2, *adapter.latent_shape)
    raw = adapter.latents.to_raw(latents)
    torch.testing.assert_close(adapter.latents.to_units(raw), latents, atol=1e-5, rtol=1e-5)
    out = adapter.vae.encode(pixels.unsqueeze(2) if adapter.latents.frames else pixels)
    stock = out.latent_dist.mode() if hasattr(out, "latent_dist") else out.latent
    torch.testing.assert_close(raw, stock[:, :, 0] if stock.ndim == 5 else stock, atol=1e-5, rtol=1e-5)


# 15: one step of the pipeline is the direct call


def test_one_step_of_sdxl_is_its_direct_call() -> None:
    adapter = PipelineAdapter(build_sdxl(), "sdxl", "0")
    x, size = start_of(adapter), adapter.image_size
    told = {"prompt": list(SHORT), "latents": x, "height": size, "width": size, "guidance_scale": SCALE}
    with torch.no_grad():
        _, texts = plan(adapter.pipeline, 1, told)
        stepped, _ = predict_once(adapter.pipeline, torch.tensor(500), texts, told)
        direct = adapter.predict(x, torch.tensor(500), adapter.encode_text(SHORT), SCALE)
    close(stepped, direct)


def test_the_calls_of_known_pipelines_are_wrapped_once_in_no_grad() -> None:
    """So that what is under the wrapping is the call, with our own grad mode."""
    for name in FAMILIES:
        call = getattr(diffusers, name).__call__
        assert inspect.unwrap(call) is call.__wrapped__, name


# 16: unknown pipelines


class NovelPipeline(diffusers.StableDiffusion3Pipeline):  # type: ignore[misc]
    """A class that no row of the table knows."""


@pytest.fixture
def novel() -> PipelineAdapter:
    return PipelineAdapter(NovelPipeline(**build_sd3().components), "novel", "0", Loading(image_size=32))


def test_an_unknown_pipeline_draws_without_a_mask(novel: PipelineAdapter) -> None:
    sampling = SamplingConfig(num_inference_steps=2, scheduler="auto", image=ImageGuidance(mask="none"))
    novel._try_out()
    samples = list(
        ImageSampler(novel, sampling).generate(requests(2, ("whole-image",)), SamplingContext(guide_image=guide_image))
    )
    assert [sample.image.size for sample in samples] == [(32, 32)] * 2


def test_an_unknown_pipeline_is_refused_by_name_where_a_mask_is_read(novel: PipelineAdapter) -> None:
    sampler = ImageSampler(novel, SamplingConfig(num_inference_steps=2, scheduler="auto"))
    with pytest.raises(UserError, match=r"attention in a NovelPipeline .*Flux, .*Sana"):
        sampler.check_guides(["coat"])


def test_what_a_flow_schedule_cannot_take_is_refused() -> None:
    adapter = adapter_of("sd3")
    with pytest.raises(UserError, match=r"sampling\.scheduler = ddim: .*flow matching\. Allowed: auto, euler, lcm, dpm\+\+"):
        adapter.solver(4, scheduler="ddim")
    with pytest.raises(UserError, match="this transformer has maps of side 8 alone"):
        adapter.map_resolution(16)
    with pytest.raises(UserError, match=r"loading\.image_size = 33: .* multiple of 4 pixels"):
        PipelineAdapter(adapter.pipeline, "sd3", "0", Loading(image_size=33))
    heun = diffusers.FlowMatchHeunDiscreteScheduler()
    with pytest.raises(UserError, match=r"num_inference_steps = 1: .*Take another number"):
        adapter_of("qwen").solver(1, scheduler="auto")  # its schedule ends at a level that one step cannot have
    found, adapter.pipeline.scheduler = adapter.pipeline.scheduler, heun
    try:
        with pytest.raises(UserError, match="FlowMatchHeunDiscreteScheduler takes steps that are not linear"):
            adapter.solver(4, scheduler="auto")
    finally:
        adapter.pipeline.scheduler = found


def test_every_unet_family_still_takes_its_direct_path() -> None:
    for name, build in UNETS.items():
        assert PipelineAdapter(build(), name, "0").unet is not None


# what the generator believes of a picture


@every_family
def test_the_class_margin_is_antisymmetric_and_the_same_in_any_batch(adapter: PipelineAdapter) -> None:
    own, rival, seeds = [SHORT[0], "a photo of bag"], ["a photo of dress", SHORT[1]], [3, 4]
    clean = start_of(adapter)
    one = measure_class_margin(adapter, clean, own, rival, seeds, 2)
    other = measure_class_margin(adapter, clean, rival, own, seeds, 2)
    alone = [
        measure_class_margin(adapter, clean[n : n + 1], own[n : n + 1], rival[n : n + 1], seeds[n : n + 1], 2) for n in (0, 1)
    ]
    assert float(one.abs().max()) > 0
    torch.testing.assert_close(one, -other, atol=1e-6, rtol=0)
    torch.testing.assert_close(one, torch.cat(alone), atol=1e-5, rtol=0)


def test_levels_of_a_flow_schedule_are_evenly_spaced_in_log_signal_to_noise() -> None:
    levels = noise_levels(adapter_of("sd3"), 6)
    ratios = [2 * math.log(at.signal / at.level) for at in levels]
    assert ratios == pytest.approx(torch.linspace(NOISIEST, CLEAREST, 6).tolist(), abs=0.1)
    assert [float(at.timestep) for at in levels] == pytest.approx([1000 * at.level for at in levels], abs=1e-3)


# gradients of large networks


class Count:
    """Counts the calls of a layer."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, *_: object) -> None:
        self.calls += 1


@every_family
@pytest.mark.parametrize("checkpointing", [False, True])
def test_checkpointing_computes_the_blocks_again_and_changes_no_gradient(family: str, checkpointing: bool) -> None:
    adapter, backbone = adapter_of(family), backbone_of(family)
    if checkpointing and not backbone.family.checkpoints:
        with pytest.raises(UserError, match=r"gradient_checkpointing = true changes the pictures of a ChromaPipeline"):
            PipelineAdapter(adapter.pipeline, family, "0", Loading(gradient_checkpointing=True))
        return
    found, adapter.loading = adapter.loading, Loading(image_size=pixels_of(family), gradient_checkpointing=checkpointing)
    conditions, count = adapter.encode_text(SHORT), Count()
    text = conditions.text_2BLD.clone().requires_grad_()
    hook = attention_layers(backbone.network, backbone.family)[0].register_forward_pre_hook(count)
    try:
        with torch.enable_grad(), adapter.borrowed():
            with adapter.recording([[[1], [1]]], adapter.map_resolution(0)) as recorder:
                out = adapter.predict(start_of(adapter), torch.tensor(500.0), replace(conditions, text_2BLD=text), 1.0, graph=1)
                recorder.take(2)  # and is deaf to what the backward pass computes
                forward = count.calls
                (gradient,) = torch.autograd.grad(out.square().sum(), text)
    finally:
        hook.remove()
        adapter.loading = found
    assert count.calls == (2 * forward if checkpointing else forward)
    assert not any(module.__dict__.get("gradient_checkpointing") for module in backbone.network.modules())
    with torch.enable_grad(), adapter.borrowed():
        out = adapter.predict(start_of(adapter), torch.tensor(500.0), replace(conditions, text_2BLD=text), 1.0, graph=1)
        (plain,) = torch.autograd.grad(out.square().sum(), text)
    torch.testing.assert_close(gradient, plain, atol=1e-5 * float(plain.abs().max()), rtol=1e-4)


@pytest.mark.parametrize("through", ["latent", "network"])
def test_both_ways_of_the_gradient_raise_the_loss_of_the_classifier(classifier: Classifier, through: str) -> None:
    adapter = adapter_of("sd3")
    sampling = SamplingConfig(
        num_inference_steps=6,
        scheduler="auto",
        guidance_scale=1.0,
        text=TextGuidance(until=1.0, through=through, step_size=0.5, latent_step=0.5),
    )
    context, losses = SamplingContext(classifier=classifier), []
    with frozen(classifier):
        for guides in ((), ("adversarial",)):
            samples = list(ImageSampler(adapter, sampling).generate(requests(4, guides), context))
            with torch.no_grad():
                pixels = adapter.decode(torch.stack([sample.latents for sample in samples]))
                losses.append(F.cross_entropy(classifier(pixels), torch.tensor([sample.request.label for sample in samples])))
    assert losses[1] > losses[0]


def test_a_network_above_a_size_is_left_out_of_the_gradient(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = adapter_of("sd3")
    opener = Opener(adapter, SamplingConfig(scheduler="auto"), MemoryBank(), SamplingContext(classifier=classifier))
    asked = requests(1, ("adversarial",))

    def branches() -> int:
        (guide,) = opener.open(asked, opener.kind(asked[0])).guides
        return guide.gradient_branches(0)

    with adapter.borrowed():
        assert branches() == 1
        monkeypatch.setattr(text, "LARGEST", adapter.parameters - 1)
        assert branches() == 0


@some_families
def test_a_pipeline_in_bfloat16_generates_under_all_guides(family: str, classifier: Classifier) -> None:
    pipeline = TRANSFORMERS[family]()
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.to(dtype=torch.bfloat16)
    adapter = PipelineAdapter(pipeline, family, "0", Loading(image_size=pixels_of(family)))
    sampling = SamplingConfig(num_inference_steps=2, scheduler="auto", guidance_scale=SCALE, text=TextGuidance(margin=1e5))
    wanted = requests(2, ("image", "contrastive", "adversarial"))
    with frozen(classifier):
        context = SamplingContext(guide_image=guide_image, classifier=classifier)
        samples = list(filled_artist(adapter, sampling).generate(wanted, context))
    assert [(sample.regenerated, sample.latents.dtype) for sample in samples] == [("", torch.float32)] * 2
    assert {parameter.dtype for network in adapter.networks for parameter in network.parameters()} == {torch.bfloat16}
