"""Precision, broken pictures, too little memory, and the options that trade one for another."""

from __future__ import annotations

from dataclasses import replace
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
from actgen.diffusion.denoising import FreeGuidance
from actgen.diffusion.guides.image import ImageGuidance
from actgen.diffusion.guides.text import TextGuidance
from actgen.diffusion.loading import Loading
from actgen.diffusion.pipeline import Backbone
from actgen.generation.presets import Drawing
from actgen.generation.sampler import Artist, flaw

from .drawing_parts import ALL, draw, filled_artist, guide_image, requests, state_of
from .families import FAMILIES, save, save_lora

DRAWING = Drawing(num_inference_steps=3, scheduler="ddim", guidance_scale=2.0)


@pytest.fixture
def backbone() -> Backbone:
    return Backbone(FAMILIES["sd1"](), "sd1")


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return create_classifier("actgen/small-cnn", 4, data_size=32, seed=1)


# precision


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_draws_nearly_the_same(backbone: Backbone, classifier: Classifier, dtype: torch.dtype) -> None:
    exact = draw(backbone, requests(1, ALL), classifier, DRAWING)[0]
    for network in backbone.networks:
        network.to(dtype)
    half = draw(backbone, requests(1, ALL), classifier, DRAWING)[0]
    assert backbone.dtype == dtype
    assert half.redrawn == ""
    error = (half.latents - exact.latents).abs().mean() / exact.latents.abs().mean()
    assert 0 < float(error) < 0.1


def test_what_overflows_is_drawn_again_in_higher_precision_and_says_so(backbone: Backbone) -> None:
    with torch.no_grad():
        backbone.unet.conv_in.weight.mul_(1e4)  # group norm makes it small again, if it has not overflowed
    for network in backbone.networks:
        network.half()
    before = state_of(backbone)
    artist = Artist(backbone, DRAWING)
    samples = list(artist.draw(requests(3, ())))
    assert [sample.redrawn for sample in samples] == ["not finite"] * 3
    assert all(bool(torch.isfinite(sample.latents).all()) for sample in samples)
    assert artist.refused == []
    assert state_of(backbone) == before


@pytest.mark.parametrize(("bias", "reason"), [(float("nan"), "not finite"), (-1e4, "all black")])
def test_what_stays_broken_never_comes_out(backbone: Backbone, bias: float, reason: str) -> None:
    target = backbone.unet.conv_out if reason == "not finite" else backbone.vae.decoder.conv_out
    with torch.no_grad():
        target.bias.fill_(bias)
    artist = Artist(backbone, DRAWING)
    assert list(artist.draw(requests(2, ()))) == []
    assert [refusal.key for refusal in artist.refused] == ["k0", "k1"]
    assert artist.refused[0].reason == f"{reason}; {reason} in float64"


def test_a_dark_picture_is_a_picture(backbone: Backbone) -> None:
    sample = next(iter(Artist(backbone, DRAWING).draw(requests(1, ()))))
    assert flaw(sample) == ""
    dark = np.zeros((32, 32, 3), dtype=np.uint8)
    dark[3, 4] = 90
    assert flaw(replace(sample, image=Image.fromarray(dark))) == ""


def test_a_wider_dtype_is_given_back_bit_for_bit(backbone: Backbone) -> None:
    for network in backbone.networks:
        network.half()
    before = state_of(backbone)
    with borrowed(backbone.networks, torch.float32):
        assert backbone.dtype == torch.float32
    assert state_of(backbone) == before


def test_a_vae_that_overflows_in_half_decodes_in_float32() -> None:
    backbone = Backbone(FAMILIES["sdxl"](), "sdxl")
    for network in backbone.networks:
        network.half()
    with backbone.borrowed():
        assert backbone.vae.dtype == torch.float32
        assert backbone.dtype == torch.float16
    assert backbone.vae.dtype == torch.float16


# memory


class Hungry(Classifier):
    """An opponent that cannot look at more than two pictures at once: the allocator itself refuses."""

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > 2:
            torch.empty(2**55)
        return super().forward(images)


def test_too_little_memory_halves_the_batch_and_goes_on(backbone: Backbone, classifier: Classifier) -> None:
    hungry = Hungry(classifier.model, 32, (0.5,) * 3, (0.5,) * 3)
    artist = filled_artist(backbone, DRAWING)
    with frozen(hungry):
        drawn = list(artist.draw(requests(11, ALL), guide_image=guide_image, classifier=hungry))
    assert artist.batch_size == 2
    for one, other in zip(drawn, draw(backbone, requests(11, ALL), classifier, DRAWING), strict=True):
        assert one.request == other.request
        torch.testing.assert_close(one.latents, other.latents, atol=1e-4, rtol=1e-5)


def test_one_picture_too_many_is_a_message(backbone: Backbone, classifier: Classifier) -> None:
    class Insatiable(Classifier):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images + torch.empty(2**55))

    artist = filled_artist(backbone, DRAWING)
    insatiable = Insatiable(classifier.model, 32, (0.5,) * 3, (0.5,) * 3)
    before = state_of(backbone)
    with pytest.raises(UserError, match="does not fit into memory with the guides image, contrastive, adversarial"):
        list(artist.draw(requests(2, ALL), guide_image=guide_image, classifier=insatiable))
    assert state_of(backbone) == before


def saved_bytes(backbone: Backbone) -> int:
    """Return the bytes that one gradient step keeps for its backward pass."""
    kept = 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.nbytes
        return tensor

    text = backbone.encode_text(["a photo of coat"])
    text = replace(text, text_2BLD=text.text_2BLD.requires_grad_())
    x = torch.randn((1, *backbone.latent_shape), generator=torch.Generator().manual_seed(1))
    with backbone.borrowed(), torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        backbone.predict(x, torch.tensor(500), text, 2.0, graph=1).sum().backward()
    return kept


def test_gradient_checkpointing_is_really_active(classifier: Classifier) -> None:
    plain = Backbone(FAMILIES["sd1"](), "sd1")
    saving = Backbone(FAMILIES["sd1"](), "sd1", loading=Loading(gradient_checkpointing=True, vae_slicing=True))
    assert saved_bytes(saving) < 0.5 * saved_bytes(plain)
    before = state_of(saving)
    for one, other in zip(
        draw(plain, requests(2, ALL), classifier, DRAWING), draw(saving, requests(2, ALL), classifier, DRAWING), strict=True
    ):
        torch.testing.assert_close(one.latents, other.latents, atol=1e-4, rtol=1e-5)
    assert state_of(saving) == before


def test_the_graph_of_the_unconditional_half_is_not_built(backbone: Backbone) -> None:
    text = backbone.encode_text(["a photo of coat"])
    leaf = text.text_2BLD.clone().requires_grad_()
    x = torch.randn((1, *backbone.latent_shape), generator=torch.Generator().manual_seed(1))
    gradients = []
    for graph in (1, 2):
        with backbone.borrowed():
            output = backbone.predict(x, torch.tensor(500), replace(text, text_2BLD=leaf), 2.0, graph=graph)
        gradients.append(torch.autograd.grad(output.square().sum(), leaf)[0])
    assert float(gradients[0][0].abs().max()) == 0.0 < float(gradients[1][0].abs().max())
    torch.testing.assert_close(gradients[0][1], gradients[1][1], atol=1e-4, rtol=1e-4)


# options


@pytest.mark.parametrize("offered", [("contrastive",), ("adversarial",), ALL])
def test_a_loss_acts_only_where_it_can(backbone: Backbone, offered: tuple[str, ...]) -> None:
    from actgen.generation.batching import Opener

    artist = Artist(backbone, DRAWING)
    empty = Opener(backbone, DRAWING, artist.bank)
    assert empty.forces(requests(1, offered)[0]) == tuple(guide for guide in offered if guide != "contrastive")
    never = replace(DRAWING, text=TextGuidance(until=0.0))
    assert set(Opener(backbone, never, artist.bank).forces(requests(1, offered)[0])) <= {"image"}


@pytest.mark.parametrize(
    "text", [TextGuidance(decoder="half"), TextGuidance(contrast_in="features", feature_margin=2.0)], ids=["half", "features"]
)
def test_cheaper_and_semantic_losses_bend_too(backbone: Backbone, classifier: Classifier, text: TextGuidance) -> None:
    guides = ("contrastive",) if text.contrast_in == "features" else ("adversarial",)
    plain = draw(backbone, requests(2, ()), classifier, DRAWING)
    bent = draw(backbone, requests(2, guides), classifier, replace(DRAWING, text=replace(text, until=1.0)))
    for one, other in zip(plain, bent, strict=True):
        assert float((one.latents - other.latents).abs().max()) > 1e-5


def test_a_light_decoder_is_loaded_and_a_wrong_one_refused(backbone: Backbone, classifier: Classifier, tmp_path: Path) -> None:
    light = AutoencoderTiny(
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
    )
    light.save_pretrained(tmp_path / "taesd")
    drawing = replace(DRAWING, text=TextGuidance(decoder=str(tmp_path / "taesd")))
    assert len(draw(backbone, requests(1, ("adversarial",)), classifier, drawing)) == 1
    with pytest.raises(UserError, match="allowed are full, half"):
        draw(backbone, requests(1, ("adversarial",)), classifier, replace(DRAWING, text=TextGuidance(decoder="quarter")))


def test_features_of_a_timm_model_are_what_its_last_layer_sees() -> None:
    model = create_classifier("resnet18", 4, data_size=32).eval()
    images = torch.rand((2, 3, 32, 32), generator=torch.Generator().manual_seed(1))
    last: Any = model.model.get_classifier()  # type: ignore[operator]
    torch.testing.assert_close(last(model.features(images)), model(images))
    odd = Classifier(torch.nn.Identity(), 32, (0.5,) * 3, (0.5,) * 3)
    with pytest.raises(UserError, match="does not show its features"):
        odd.features(images)


def test_free_guidance_may_be_limited_to_a_part_of_the_schedule() -> None:
    limited = FreeGuidance(scale=5.0, start=0.25, stop=0.75)
    assert [limited.at(index, 4) for index in range(4)] == [1.0, 5.0, 5.0, 1.0]
    assert [FreeGuidance(scale=0.0).at(index, 2) for index in range(2)] == [0.0, 0.0]


@pytest.mark.slow
@pytest.mark.timeout(1800)  # g++ on a shared core
def test_compiled_networks_draw_the_same_with_one_graph_for_all_steps_and_batches(classifier: Classifier) -> None:
    from torch._dynamo.utils import counters

    plain = Backbone(FAMILIES["sd1"](), "sd1")
    compiled = Backbone(FAMILIES["sd1"](), "sd1", loading=Loading(compile=True))
    drawing = replace(
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
                draw(plain, requests(5, guides), classifier, drawing),
                draw(compiled, requests(5, guides), classifier, drawing),
                strict=True,
            ):
                torch.testing.assert_close(one.latents, other.latents, atol=1e-4, rtol=1e-5)

    counters.clear()
    same()
    assert not counters["graph_break"]
    assert counters["stats"]["unique_graphs"] == 1
    assert state_of(compiled) == before
    for backbone in (plain, compiled):
        with torch.no_grad():
            backbone.unet.conv_out.weight.mul_(0.5)  # the weights are ours to compile, not to keep
    same()


# loading


def test_a_saved_pipeline_loads_in_the_precision_asked_for(tmp_path: Path) -> None:
    folder = save(FAMILIES["sd1"](), tmp_path / "sd1")
    assert Backbone.from_pretrained(str(folder)).dtype == torch.float32
    assert Backbone.from_pretrained(str(folder), loading=Loading(dtype="bfloat16")).dtype == torch.bfloat16
    with pytest.raises(UserError, match=r"loading\.dtype = 'float8'"):
        Loading(dtype="float8")
    with pytest.raises(UserError, match="needs a GPU"):
        Backbone.from_pretrained(str(folder), loading=Loading(offload=True))
    with pytest.raises(UserError, match=r"loading\.lora = .* cannot be loaded"):
        Backbone.from_pretrained(str(folder), loading=Loading(lora=str(tmp_path / "none")))


def test_a_lora_is_loaded_with_its_generator(tmp_path: Path) -> None:
    folder, lora = save(FAMILIES["sd1"](), tmp_path / "sd1"), save_lora(tmp_path / "lora")
    plain = Backbone.from_pretrained(str(folder))
    loaded = Backbone.from_pretrained(str(folder), loading=Loading(lora=lora))
    assert loaded.weights_hash != plain.weights_hash
    assert loaded.facts["loading"]["lora"] == lora
    one, other = (next(Artist(backbone, DRAWING).draw(requests(1, ()))) for backbone in (plain, loaded))
    assert float((one.latents - other.latents).abs().max()) > 1e-3


def test_weights_have_one_hash_and_a_lora_another(tmp_path: Path) -> None:
    hashes = {name: Backbone(build(), name).weights_hash for name, build in FAMILIES.items()}
    assert hashes["sd1"] == Backbone(FAMILIES["sd1"](), "again").weights_hash
    assert hashes["sd1"] != hashes["lora"]
    assert all(len(digest) == 64 for digest in hashes.values())


def test_an_unknown_generator_names_what_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(FAMILIES["sd1"](), tmp_path / "mine" / "sd1")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"(?s)cannot load .*There are here: bundled, mine/sd1.*stable-diffusion-v1-5"):
        Backbone.from_pretrained("nobody/no-such-model")
