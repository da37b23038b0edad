"""Cross-attention maps: recorded without changing anything, and the class words found among the tokens."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor

from actgen.classifiers.classifier import create_classifier
from actgen.core.errors import UserError
from actgen.diffusion.attention import word_groups
from actgen.diffusion.hearing import AttentionCall
from actgen.diffusion.pipeline import PipelineAdapter
from actgen.generation.presets import SamplingConfig
from tests.support.families import FAMILIES
from tests.support.sampler_parts import generate, requests


@pytest.fixture(scope="module")
def adapter() -> PipelineAdapter:
    return PipelineAdapter(FAMILIES["sd1"](), "sd1")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("graph", [0, 1])
def test_recording_changes_no_bit_and_sums_to_one(family: str, graph: int) -> None:
    adapter = PipelineAdapter(FAMILIES[family](), family)
    x = torch.randn((2, *adapter.latent_shape), generator=torch.Generator().manual_seed(3))
    text = adapter.encode_text(["a photo of bag", "coat"])
    words = [[[*range(0, 16, 2)], [3]], [[*range(1, 16, 2)], [n for n in range(16) if n != 3]]]
    with torch.no_grad(), adapter.borrowed():
        plain = adapter.predict(x, torch.tensor(500), text, 3.0, graph=graph)
        with adapter.recording(words, 8) as recorder:
            seen = adapter.predict(x, torch.tensor(500), text, 3.0, graph=graph)
            maps = recorder.take(2)
    assert torch.equal(seen, plain)
    assert maps.shape == (2, adapter.branches(3.0), 2, 8, 8)
    torch.testing.assert_close(maps.sum(dim=0), torch.ones(maps.shape[1:]), atol=1e-5, rtol=1e-5)


def test_shares_are_those_of_an_explicit_softmax() -> None:
    rng = torch.Generator().manual_seed(1)
    query, key = torch.randn((2, 4, 9, 8), generator=rng), torch.randn((2, 4, 6, 8), generator=rng)
    mask = torch.randn((2, 1, 1, 6), generator=rng)
    groups = word_groups([[[0, 2], [5]], [[1], [1, 2, 3]]], 6, query.device)
    found = AttentionCall(query, key, mask, {}).shares(slice(None), slice(2, 7), groups)
    wanted = ((query[:, :, 2:7] @ key.mT) / 8**0.5 + mask).softmax(dim=-1).mean(dim=1) @ groups
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)


def test_halves_are_the_same_in_one_call_or_two(adapter: PipelineAdapter) -> None:
    x = torch.randn((3, *adapter.latent_shape), generator=torch.Generator().manual_seed(3))
    text = adapter.encode_text(["a photo of bag", "coat", "dress"])
    maps = []
    for graph in (0, 1):
        with torch.no_grad(), adapter.borrowed(), adapter.recording([[[1, 2]] * 3, [[3]] * 3], 8) as recorder:
            adapter.predict(x, torch.tensor(500), text, 3.0, graph=graph)
            maps.append(recorder.take(3))
    torch.testing.assert_close(maps[0], maps[1], atol=1e-5, rtol=1e-5)


def test_layers_that_cannot_be_heard_are_named() -> None:
    adapter = PipelineAdapter(FAMILIES["sd1"](), "sd1")
    adapter.unet.set_attn_processor(AttnProcessor())
    classifier = create_classifier("actgen/small-cnn", 4, data_size=32)
    with pytest.raises(UserError, match="listened attention layers calls torch's scaled_dot_product_attention"):
        generate(adapter, requests(1, ("image",)), classifier, SamplingConfig(num_inference_steps=2))


def test_class_words_are_found_wherever_they_stand(adapter: PipelineAdapter) -> None:
    assert adapter.token_positions("a photo of ankle boot", "ankle boot") == [4, 5]
    assert adapter.token_positions("coat of a coat", "coat") == [1, 4]
    with pytest.raises(UserError, match="not in the prompt"):
        adapter.token_positions("a photo of bag", "coat")


def test_a_map_size_that_is_not_there_is_refused(adapter: PipelineAdapter) -> None:
    classifier = create_classifier("actgen/small-cnn", 4, data_size=32)
    with pytest.raises(UserError, match=r"\[8, 16\]"):
        generate(adapter, requests(1, ("image",)), classifier, SamplingConfig(num_inference_steps=2, attention_resolution=32))


def test_an_inpainting_pipeline_is_refused() -> None:
    pipeline = FAMILIES["sd1"]()
    pipeline.unet.register_to_config(in_channels=9)
    with pytest.raises(UserError, match="reads 9 channels, not the 4"):
        PipelineAdapter(pipeline, "inpainting")
