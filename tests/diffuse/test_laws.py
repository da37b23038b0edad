"""Laws of the guided sampler, on an untrained pipeline of the bundled architecture."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from PIL import Image
from torch import Tensor

from actgen.classify.classifier import Classifier, create_classifier, frozen
from actgen.data.idx import FASHION_MNIST_CLASSES
from actgen.diffuse.attention import recording
from actgen.diffuse.backbone import Backbone
from actgen.diffuse.denoise import Batch, Step, denoise
from actgen.diffuse.walk import alphas_cumprod, make_walk
from actgen.drawing import Artist
from actgen.errors import UserError
from actgen.finetune import tiny
from actgen.guides.image import BoundImage, ImageGuidance
from actgen.presets import PRESETS, Drawing
from actgen.records import Request, Sample, Source

ALL = ("image", "contrastive", "adversarial")


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tokenizer = tiny.build_tokenizer(FASHION_MNIST_CLASSES)
        pipeline = tiny.assemble(tiny.build_autoencoder(), tiny.build_unet(), tiny.build_text_encoder(tokenizer), tokenizer)
    pipeline.set_progress_bar_config(disable=True)
    return Backbone(pipeline, "untrained")


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return create_classifier("actgen/small-cnn", 10, data_size=32, seed=1)


def requests(count: int, guides: tuple[str, ...]) -> list[Request]:
    names = FASHION_MNIST_CLASSES
    return [
        Request(key=f"k{n}", label=n % 10, class_name=names[n % 10], prompt=f"a photo of {names[n % 10]}", seed=100 + n,
                strategy="test", round=0, source=Source(split="train", index=n, key=f"train/{n}"), guides=guides)
        for n in range(count)
    ]  # fmt: skip


def guide_image(request: Request) -> Image.Image:
    rng = np.random.default_rng(request.seed)
    return Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))


def draw(backbone: Backbone, wanted: list[Request], classifier: Classifier, drawing: Drawing) -> list[Sample]:
    artist = Artist(backbone, drawing)
    for label in range(10):
        artist.bank.add(label, torch.full(backbone.latent_shape, 0.1 * label))
    with frozen(classifier):
        return list(artist.draw(wanted, guide_image=guide_image, classifier=classifier))


@pytest.mark.parametrize("scale", [1.0, 5.0])
@pytest.mark.parametrize("steps", [4, 7])
def test_no_guides_equal_the_stock_pipeline(backbone: Backbone, scale: float, steps: int) -> None:
    prompts = [f"a photo of {name}" for name in FASHION_MNIST_CLASSES[:3]]
    start = torch.randn((3, *backbone.latent_shape), generator=torch.Generator().manual_seed(5))
    stock: Tensor = backbone.pipeline(
        prompts,
        num_inference_steps=steps,
        guidance_scale=scale,
        latents=start,
        output_type="latent",
        height=32,
        width=32,
    ).images
    walk = make_walk(backbone.pipeline.scheduler.config, steps, eta=0.0, previous="stride")  # as DDIMScheduler
    text = backbone.encode_text(prompts)
    batch = Batch(torch.stack([backbone.encode_text([""]).expand_as(text), text]), start, lambda _: torch.zeros_like(start))
    *_, last = denoise(backbone, walk, batch, guidance_scale=scale)
    torch.testing.assert_close(last.proposed, stock, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("guides", [(), ("image",), ("image", "contrastive"), ALL])
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_same_picture_in_any_batch(
    backbone: Backbone, classifier: Classifier, guides: tuple[str, ...], eta: float
) -> None:  # fmt: skip
    drawing = Drawing(num_inference_steps=5, guidance_scale=3.0, eta=eta)
    together = draw(backbone, requests(6, guides), classifier, drawing)
    for size in (1, 4):
        for one, other in zip(
            together, draw(backbone, requests(6, guides), classifier, replace(drawing, batch_size=size)), strict=True
        ):
            assert one.request == other.request
            torch.testing.assert_close(one.latents, other.latents, atol=1e-5, rtol=1e-5)


def test_mixed_guides_come_back_complete(backbone: Backbone, classifier: Classifier) -> None:
    wanted = [replace(one, guides=guides) for one, guides in zip(requests(5, ()), [ALL, (), ALL, ("image",), ()], strict=True)]
    drawn = draw(backbone, wanted, classifier, Drawing(num_inference_steps=3))
    assert sorted(sample.request.key for sample in drawn) == sorted(one.key for one in wanted)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_full_strength_gives_the_guide(backbone: Backbone, eta: float, spacing: str, prediction: str) -> None:
    config = {**backbone.pipeline.scheduler.config, "timestep_spacing": spacing, "prediction_type": prediction}
    walk = make_walk(config, 6, eta=eta)
    rng = torch.Generator().manual_seed(1)
    guide = torch.randn((2, *backbone.latent_shape), generator=rng)
    start = torch.randn(guide.shape, generator=rng)
    image = BoundImage(ImageGuidance(mask="none", offset=1e9), walk, guide, start, [[1], [1]])
    text = backbone.encode_text(["a", "b"])
    batch = Batch(
        torch.stack([text, text]), start, lambda i: torch.randn(guide.shape, generator=torch.Generator().manual_seed(i))
    )
    *_, last = denoise(backbone, walk, batch, guidance_scale=1.0, guides=[image])
    torch.testing.assert_close(last.proposed, guide, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("guides", [("image",), ALL])
def test_zero_strength_is_identity(backbone: Backbone, classifier: Classifier, guides: tuple[str, ...]) -> None:
    drawing = Drawing(num_inference_steps=5)
    nothing = replace(drawing, image=ImageGuidance(strength=0.0), text=replace(drawing.text, step_size=0.0))
    plain = draw(backbone, requests(3, ()), classifier, drawing)
    for one, other in zip(plain, draw(backbone, requests(3, guides), classifier, nothing), strict=True):
        torch.testing.assert_close(one.latents, other.latents, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("guides", [("image",), ("contrastive",), ("adversarial",)])
def test_every_guide_matters(backbone: Backbone, classifier: Classifier, guides: tuple[str, ...]) -> None:
    drawing = Drawing(num_inference_steps=5, guidance_scale=3.0)
    plain = draw(backbone, requests(2, ()), classifier, drawing)
    for one, other in zip(plain, draw(backbone, requests(2, guides), classifier, drawing), strict=True):
        assert float((one.latents - other.latents).abs().max()) > 1e-4


def test_steps_of_two_losses_need_a_graph_only_while_they_act(backbone: Backbone, classifier: Classifier) -> None:
    drawing = Drawing(num_inference_steps=8)
    artist = Artist(backbone, drawing)
    unfilled = artist._bind_text(requests(2, ("contrastive",)), None, 8)
    assert unfilled is not None
    assert not any(unfilled.reads_gradient(i) for i in range(8))  # an empty bank has nothing to repel
    with frozen(classifier):
        adversarial = artist._bind_text(requests(2, ("adversarial",)), classifier, 8)
    assert adversarial is not None
    assert [adversarial.reads_gradient(i) for i in range(8)] == [True] * 2 + [False] * 6


def state_of(backbone: Backbone) -> Any:
    unet = backbone.unet
    return (
        {name: id(processor) for name, processor in unet.attn_processors.items()},
        [module.training for module in unet.modules()], [p.requires_grad for p in unet.parameters()], unet.dtype, unet.device,
    )  # fmt: skip


class Failing:
    """A guide that raises in step 2."""

    def reads_attention(self, index: int) -> bool:
        return True

    def reads_gradient(self, index: int) -> bool:
        return False

    def bend(self, step: Step) -> Step:
        if step.index == 2:
            raise RuntimeError("in the middle")
        return step


def walk_on(backbone: Backbone, guide: Any) -> Iterator[Step]:
    text = backbone.encode_text(["a photo of bag"])
    batch = Batch(
        torch.stack([text, text]),
        torch.zeros(1, *backbone.latent_shape),
        lambda _: torch.zeros(1, *backbone.latent_shape),
    )
    walk = make_walk(backbone.pipeline.scheduler.config, 5)
    return denoise(backbone, walk, batch, guidance_scale=2.0, guides=[guide], attention_resolution=8)


def test_unet_comes_back_as_found_after_an_exception(backbone: Backbone) -> None:
    before = state_of(backbone)
    with pytest.raises(RuntimeError, match="in the middle"):
        list(walk_on(backbone, Failing()))
    assert state_of(backbone) == before


def test_unet_comes_back_as_found_when_the_caller_stops(backbone: Backbone) -> None:
    before = state_of(backbone)
    steps = walk_on(backbone, Failing())
    next(steps)
    assert state_of(backbone) != before
    steps.close()  # type: ignore[attr-defined]
    assert state_of(backbone) == before


def test_recording_changes_nothing_and_sums_to_one(backbone: Backbone) -> None:
    x = torch.randn((2, *backbone.latent_shape), generator=torch.Generator().manual_seed(3))
    text = backbone.encode_text(["a photo of bag", "coat"])
    with torch.no_grad():
        plain = backbone.predict(x, torch.tensor(500), torch.stack([text, text]), 1.0)
        with recording(backbone.unet, 8, 8) as recorder:
            seen = backbone.predict(x, torch.tensor(500), torch.stack([text, text]), 1.0)
            maps = recorder.take()
    torch.testing.assert_close(seen, plain, atol=1e-5, rtol=1e-5)
    assert maps.shape == (2, 8, 8, 16)
    torch.testing.assert_close(maps.sum(dim=-1), torch.ones(2, 8, 8), atol=1e-5, rtol=1e-5)


def test_class_words_are_found_wherever_they_stand(backbone: Backbone) -> None:
    assert backbone.token_positions("a photo of ankle boot", "ankle boot") == [4, 5]
    assert backbone.token_positions("coat of a coat", "coat") == [1, 4]
    with pytest.raises(UserError, match="not in the prompt"):
        backbone.token_positions("a photo of bag", "coat")


def test_a_map_size_that_is_not_there_is_refused(backbone: Backbone, classifier: Classifier) -> None:
    with pytest.raises(UserError, match=r"\[4, 8\]"):
        draw(backbone, requests(1, ("image",)), classifier, Drawing(num_inference_steps=2, attention_resolution=16))


# what cannot be


LEADING = {"num_train_timesteps": 1000, "timestep_spacing": "leading", "steps_offset": 1}


@pytest.mark.parametrize(("steps", "words"), [(0, "1 to 1000"), (1001, "1 to 1000"), (1000, "starts at timestep 1000")])
def test_more_steps_than_the_schedule_has_are_refused(steps: int, words: str) -> None:
    with pytest.raises(UserError, match=rf"num_inference_steps = {steps}: .*{words}"):
        make_walk(LEADING, steps)


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_as_many_steps_as_timesteps_use_each_once(spacing: str) -> None:
    walk = make_walk({"num_train_timesteps": 1000, "timestep_spacing": spacing}, 1000)
    assert walk.timesteps.tolist() == list(range(999, -1, -1))


def test_the_offset_counts_in_leading_spacing_only() -> None:
    assert int(make_walk(LEADING, 999).timesteps.max()) == 999
    assert int(make_walk({**LEADING, "timestep_spacing": "trailing"}, 1000).timesteps.max()) == 999


def test_too_many_steps_are_found_before_a_drawing_is_asked_for(backbone: Backbone) -> None:
    with pytest.raises(UserError, match="num_inference_steps = 1001"):
        Artist(backbone, Drawing(num_inference_steps=1001))


@pytest.mark.parametrize("rescale", [False, True])
def test_the_schedule_is_that_of_diffusers(rescale: bool) -> None:
    stock = DDIMScheduler(beta_schedule="scaled_linear", rescale_betas_zero_snr=rescale)
    ours = alphas_cumprod(stock.config)
    torch.testing.assert_close(ours, stock.alphas_cumprod.double())
    assert (float(ours[-1]) < 1e-9) == rescale


@pytest.mark.parametrize(
    ("name", "value"),
    [("softness", 0.0), ("softness", math.nan), ("reference_steps", -1), ("negligible", -1e-5), ("offset", math.inf),
     ("offset", -math.inf), ("offset", math.nan), ("offset", 2e9)],
)  # fmt: skip
def test_image_guidance_that_cannot_be_is_refused(name: str, value: float) -> None:
    wrong: dict[str, Any] = {name: value}
    with pytest.raises(UserError, match=rf"drawing\.image\.{name} = "):
        ImageGuidance(**wrong)


def test_a_large_offset_keeps_the_full_strength() -> None:
    assert [ImageGuidance(offset=1e9, strength=0.5).gamma(index, 40) for index in (0, 39)] == [0.5, 0.5]


def test_a_token_outside_the_prompt_is_refused(backbone: Backbone) -> None:
    length = backbone.pipeline.tokenizer.model_max_length
    for token, allowed in ((-1, True), (length - 1, True), (length, False)):
        artist = Artist(backbone, replace(PRESETS["tiny"], image=ImageGuidance(token=token)))
        if allowed:
            artist.check_guides(["coat"])
        else:
            with pytest.raises(UserError, match=rf"token = {length}: .* 0 to {length - 1}"):
                artist.check_guides(["coat"])
