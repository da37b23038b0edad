"""Precision, broken pictures, too little memory, and the options that trade one for another."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from PIL import Image
from torch import Tensor

from actgen.classifiers.classifier import Classifier, create_classifier
from actgen.core.errors import UserError
from actgen.core.frozen import borrowed, frozen
from actgen.diffusion.denoising import ClassifierFreeGuidance
from actgen.diffusion.guides.image import ImageGuidance
from actgen.diffusion.guides.text import TextGuidance
from actgen.diffusion.loading import Loading
from actgen.diffusion.pipeline import PipelineAdapter
from actgen.generation.presets import SamplingConfig
from actgen.generation.sampler import ImageSampler, flaw
from actgen.generation.sampling_context import SamplingContext
from tests.support.families import FAMILIES, save, save_lora
from tests.support.sampler_parts import ALL, filled_artist, generate, guide_image, requests, state_of

DRAWING = SamplingConfig(num_inference_steps=3, scheduler="ddim", guidance_scale=2.0)


@pytest.fixture
def adapter() -> PipelineAdapter:
    return PipelineAdapter(FAMILIES["sd1"](), "sd1")


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return create_classifier("actgen/small-cnn", 4, data_size=32, seed=1)


# precision


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_draws_nearly_the_same(adapter: PipelineAdapter, classifier: Classifier, dtype: torch.dtype) -> None:
    exact = generate(adapter, requests(1, ALL), classifier, DRAWING)[0]
    for network in adapter.networks:
        network.to(dtype)
    half = generate(adapter, requests(1, ALL), classifier, DRAWING)[0]
    assert adapter.dtype == dtype
    assert half.regenerated == ""
    error = (half.latents - exact.latents).abs().mean() / exact.latents.abs().mean()
    assert 0 < float(error) < 0.1


def test_what_overflows_is_drawn_again_in_higher_precision_and_says_so(adapter: PipelineAdapter) -> None:
    with torch.no_grad():
        adapter.unet.conv_in.weight.mul_(1e4)  # group norm makes it small again, if it has not overflowed
    for network in adapter.networks:
        network.half()
    before = state_of(adapter)
    sampler = ImageSampler(adapter, DRAWING)
    samples = list(sampler.generate(requests(3, ())))
    assert [sample.regenerated for sample in samples] == ["not finite"] * 3
    assert all(bool(torch.isfinite(sample.latents).all()) for sample in samples)
    assert sampler.failed == []
    assert state_of(adapter) == before


@pytest.mark.parametrize(("bias", "reason"), [(float("nan"), "not finite"), (-1e4, "all black")])
def test_what_stays_broken_never_comes_out(adapter: PipelineAdapter, bias: float, reason: str) -> None:
    target = adapter.unet.conv_out if reason == "not finite" else adapter.vae.decoder.conv_out
    with torch.no_grad():
        target.bias.fill_(bias)
    sampler = ImageSampler(adapter, DRAWING)
    assert list(sampler.generate(requests(2, ()))) == []
    assert [rejection.key for rejection in sampler.failed] == ["k0", "k1"]
    assert sampler.failed[0].reason == f"{reason}; {reason} in float64"


def test_a_dark_picture_is_a_picture(adapter: PipelineAdapter) -> None:
    sample = next(iter(ImageSampler(adapter, DRAWING).generate(requests(1, ()))))
    assert flaw(sample) == ""
    dark = np.zeros((32, 32, 3), dtype=np.uint8)
    dark[3, 4] = 90
    assert flaw(replace(sample, image=Image.fromarray(dark))) == ""


def test_a_wider_dtype_is_given_back_bit_for_bit(adapter: PipelineAdapter) -> None:
    for network in adapter.networks:
        network.half()
    before = state_of(adapter)
    with borrowed(adapter.networks, torch.float32):
        assert adapter.dtype == torch.float32
    assert state_of(adapter) == before


def test_a_vae_that_overflows_in_half_decodes_in_float32() -> None:
    adapter = PipelineAdapter(FAMILIES["sdxl"](), "sdxl")
    for network in adapter.networks:
        network.half()
    with adapter.borrowed():
        assert adapter.vae.dtype == torch.float32
        assert adapter.dtype == torch.float16
    assert adapter.vae.dtype == torch.float16


# memory


class Hungry(Classifier):
    """An opponent that cannot look at more than two pictures at once: the allocator itself refuses."""

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > 2:
            torch.empty(2**55)
        return super().forward(images)


def test_too_little_memory_halves_the_batch_and_goes_on(adapter: PipelineAdapter, classifier: Classifier) -> None:
    hungry = Hungry(classifier.model, 32, (0.5,) * 3, (0.5,) * 3)
    sampler = filled_artist(adapter, DRAWING)
    with frozen(hungry):
        generated = list(sampler.generate(requests(11, ALL), SamplingContext(guide_image=guide_image, classifier=hungry)))
    assert sampler.batch_size == 2
    for one, other in zip(generated, generate(adapter, requests(11, ALL), classifier, DRAWING), strict=True):
        assert one.request == other.request
        torch.testing.assert_close(one.latents, other.latents, atol=1e-4, rtol=1e-5)


def test_one_picture_too_many_is_a_message(adapter: PipelineAdapter, classifier: Classifier) -> None:
    class Insatiable(Classifier):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images + torch.empty(2**55))

    sampler = filled_artist(adapter, DRAWING)
    insatiable = Insatiable(classifier.model, 32, (0.5,) * 3, (0.5,) * 3)
    before = state_of(adapter)
    with pytest.raises(UserError, match="does not fit into memory with the guides image, contrastive, adversarial"):
        list(sampler.generate(requests(2, ALL), SamplingContext(guide_image=guide_image, classifier=insatiable)))
    assert state_of(adapter) == before


def saved_bytes(adapter: PipelineAdapter) -> int:
    """Return the bytes that one gradient step keeps for its backward pass."""
    kept = 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.nbytes
        return tensor

    text = adapter.encode_text(["a photo of coat"])
    text = replace(text, text_2BLD=text.text_2BLD.requires_grad_())
    x = torch.randn((1, *adapter.latent_shape), generator=torch.Generator().manual_seed(1))
    with adapter.borrowed(), torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        adapter.predict(x, torch.tensor(500), text, 2.0, graph=1).sum().backward()
    return kept


def test_gradient_checkpointing_is_really_active(classifier: Classifier) -> None:
    plain = PipelineAdapter(FAMILIES["sd1"](), "sd1")
    saving = PipelineAdapter(FAMILIES["sd1"](), "sd1", loading=Loading(gradient_checkpointing=True, vae_slicing=True))
    assert saved_bytes(saving) < 0.5 * saved_bytes(plain)
    before = state_of(saving)
    for one, other in zip(
        generate(plain, requests(2, ALL), classifier, DRAWING),
        generate(saving, requests(2, ALL), classifier, DRAWING),
        strict=True,
    ):
        torch.testing.assert_close(one.latents, other.latents, atol=1e-4, rtol=1e-5)
    assert state_of(saving) == before


def test_the_graph_of_the_unconditional_half_is_not_built(adapter: PipelineAdapter) -> None:
    text = adapter.encode_text(["a photo of coat"])
    leaf = text.text_2BLD.clone().requires_grad_()
    x = torch.randn((1, *adapter.latent_shape), generator=torch.Generator().manual_seed(1))
    gradients = []
    for graph in (1, 2):
        with adapter.borrowed():
            output = adapter.predict(x, torch.tensor(500), replace(text, text_2BLD=leaf), 2.0, graph=graph)
        gradients.append(torch.autograd.grad(output.square().sum(), leaf)[0])
    assert float(gradients[0][0].abs().max()) == 0.0 < float(gradients[1][0].abs().max())
    torch.testing.assert_close(gradients[0][1], gradients[1][1], atol=1e-4, rtol=1e-4)


# options


@pytest.mark.parametrize("offered", [("contrastive",), ("adversarial",), ALL])
def test_a_loss_acts_only_where_it_can(adapter: PipelineAdapter, offered: tuple[str, ...]) -> None:
    from actgen.generation.batching import Opener

    sampler = ImageSampler(adapter, DRAWING)
    empty = Opener(adapter, DRAWING, sampler.bank)
    assert empty.guides(requests(1, offered)[0]) == tuple(guide for guide in offered if guide != "contrastive")
    never = replace(DRAWING, text=TextGuidance(until=0.0))
    assert set(Opener(adapter, never, sampler.bank).guides(requests(1, offered)[0])) <= {"image"}


@pytest.mark.parametrize(
    "text", [TextGuidance(decoder="half"), TextGuidance(contrast_in="features", feature_margin=2.0)], ids=["half", "features"]
)
def test_cheaper_and_semantic_losses_bend_too(adapter: PipelineAdapter, classifier: Classifier, text: TextGuidance) -> None:
    guides = ("contrastive",) if text.contrast_in == "features" else ("adversarial",)
    plain = generate(adapter, requests(2, ()), classifier, DRAWING)
    bent = generate(adapter, requests(2, guides), classifier, replace(DRAWING, text=replace(text, until=1.0)))
    for one, other in zip(plain, bent, strict=True):
        assert float((one.latents - other.latents).abs().max()) > 1e-5


def test_a_light_decoder_is_loaded_and_a_wrong_one_refused(
    adapter: PipelineAdapter, classifier: Classifier, tmp_path: Path
) -> None:
    light = AutoencoderTiny(
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
    )
    light.save_pretrained(tmp_path / "taesd")
    sampling = replace(DRAWING, text=TextGuidance(decoder=str(tmp_path / "taesd")))
    assert len(generate(adapter, requests(1, ("adversarial",)), classifier, sampling)) == 1
    with pytest.raises(UserError, match="allowed are full, half"):
        generate(adapter, requests(1, ("adversarial",)), classifier, replace(DRAWING, text=TextGuidance(decoder="quarter")))


def test_features_of_a_timm_model_are_what_its_last_layer_sees() -> None:
    model = create_classifier("resnet18", 4, data_size=32).eval()
    images = torch.rand((2, 3, 32, 32), generator=torch.Generator().manual_seed(1))
    last: Any = model.model.get_classifier()  # type: ignore[operator]
    torch.testing.assert_close(last(model.features(images)), model(images))
    odd = Classifier(torch.nn.Identity(), 32, (0.5,) * 3, (0.5,) * 3)
    with pytest.raises(UserError, match="does not show its features"):
        odd.features(images)


def test_free_guidance_may_be_limited_to_a_part_of_the_schedule() -> None:
    limited = ClassifierFreeGuidance(scale=5.0, start=0.25, stop=0.75)
    assert [limited.at(index, 4) for index in range(4)] == [1.0, 5.0, 5.0, 1.0]
    assert [ClassifierFreeGuidance(scale=0.0).at(index, 2) for index in range(2)] == [0.0, 0.0]


@pytest.mark.slow
@pytest.mark.timeout(1800)  # g++ on a shared core
def test_compiled_networks_draw_the_same_with_one_graph_for_all_steps_and_batches(classifier: Classifier) -> None:
    from torch._dynamo.utils import counters

    plain = PipelineAdapter(FAMILIES["sd1"](), "sd1")
    compiled = PipelineAdapter(FAMILIES["sd1"](), "sd1", loading=Loading(compile=True))
    sampling = replace(
        DRAWING,
        num_inference_steps=8,
        guidance_start=0.25,
        guidance_stop=0.75,
        batch_size=3,
        image=ImageGuidance(mask_stop=0.5),
    )
    before = state_of(compiled)

    def same() -> None:
        for guides in (ALL, ("image",)):  # plain, recorded and gradient steps; batches of 3 and 2, with two halves 6 and 4
            for one, other in zip(
                generate(plain, requests(5, guides), classifier, sampling),
                generate(compiled, requests(5, guides), classifier, sampling),
                strict=True,
            ):
                torch.testing.assert_close(one.latents, other.latents, atol=1e-4, rtol=1e-5)

    counters.clear()
    same()
    assert not counters["graph_break"]
    assert counters["stats"]["unique_graphs"] == 1
    assert state_of(compiled) == before
    for adapter in (plain, compiled):
        with torch.no_grad():
            adapter.unet.conv_out.weight.mul_(0.5)  # the weights are ours to compile, not to keep
    same()


# loading


def test_a_saved_pipeline_loads_in_the_precision_asked_for(tmp_path: Path) -> None:
    folder = save(FAMILIES["sd1"](), tmp_path / "sd1")
    assert PipelineAdapter.from_pretrained(str(folder)).dtype == torch.float32
    assert PipelineAdapter.from_pretrained(str(folder), loading=Loading(dtype="bfloat16")).dtype == torch.bfloat16
    with pytest.raises(UserError, match=r"loading\.dtype = 'float8'"):
        Loading(dtype="float8")
    with pytest.raises(UserError, match="needs a GPU"):
        PipelineAdapter.from_pretrained(str(folder), loading=Loading(offload=True))
    with pytest.raises(UserError, match=r"loading\.lora = .* there is no such file or folder"):
        PipelineAdapter.from_pretrained(str(folder), loading=Loading(lora=str(tmp_path / "none")))


def test_a_lora_is_loaded_with_its_generator(tmp_path: Path) -> None:
    folder, lora = save(FAMILIES["sd1"](), tmp_path / "sd1"), save_lora(tmp_path / "lora")
    plain = PipelineAdapter.from_pretrained(str(folder))
    loaded = PipelineAdapter.from_pretrained(str(folder), loading=Loading(lora=lora))
    assert loaded.weights_hash != plain.weights_hash
    told = {name: value for name, value in asdict(Loading(lora=lora)).items() if value or name not in ("embeddings", "config")}
    assert loaded.facts["loading"] == {**told, "dtype": "float32"}
    one, other = (next(ImageSampler(adapter, DRAWING).generate(requests(1, ()))) for adapter in (plain, loaded))
    assert float((one.latents - other.latents).abs().max()) > 1e-3


def test_weights_have_one_hash_and_a_lora_another(tmp_path: Path) -> None:
    hashes = {name: PipelineAdapter(build(), name).weights_hash for name, build in FAMILIES.items()}
    assert hashes["sd1"] == PipelineAdapter(FAMILIES["sd1"](), "again").weights_hash
    assert hashes["sd1"] != hashes["lora"]
    assert all(len(digest) == 64 for digest in hashes.values())


def test_an_unknown_generator_names_what_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(FAMILIES["sd1"](), tmp_path / "mine" / "sd1")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"(?s)cannot load .*There are here: bundled, mine/sd1.*stable-diffusion-v1-5"):
        PipelineAdapter.from_pretrained("nobody/no-such-model")
