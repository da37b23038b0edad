"""Laws of given masks: what is held is the guide image's to the pixel, and nothing else is touched."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from actgen.core.types import Sample
from actgen.diffusion.guides.image import KEEP, ImageGuidance
from actgen.diffusion.pipeline import PipelineAdapter
from actgen.generation.batching import make_own_solver
from actgen.generation.given_masks import Held
from actgen.generation.presets import SamplingConfig
from actgen.generation.sampler import ImageSampler
from actgen.generation.sampling_context import SamplingContext
from tests.support.families import FAMILIES
from tests.support.sampler_parts import guide_image, requests

SIZE = 32
OPTIONS = ImageGuidance(mask="given")
SMALL = SamplingConfig(num_inference_steps=4, scheduler="ddim", guidance_scale=1.0, image=OPTIONS)

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Same:
    """The same mask for every image."""

    mask: Mask

    def of(self, key: str, image: Image.Image) -> Mask:
        return self.mask


@pytest.fixture(scope="module")
def adapter() -> PipelineAdapter:
    return PipelineAdapter(FAMILIES["sd1"](), "sd1")


def generated(adapter: PipelineAdapter, mask: Mask | None, sampling: SamplingConfig = SMALL, count: int = 2) -> list[Sample]:
    masks = None if mask is None else Same(mask)
    asked = requests(count, () if mask is None else ("image",))
    return list(ImageSampler(adapter, sampling, masks=masks).generate(asked, SamplingContext(guide_image=guide_image)))


def pixels(sample: Sample) -> npt.NDArray[np.uint8]:
    return np.asarray(sample.image)


def random_mask(seed: int, height: int = SIZE, width: int = SIZE) -> Mask:
    rng = np.random.default_rng(seed)
    return np.asarray(rng.random((height, width)) < rng.random())


@pytest.mark.parametrize("scheduler", ["ddim", "ddpm", "dpm++"])
@pytest.mark.parametrize("keep", KEEP)
def test_what_is_held_is_the_guide_image_to_the_pixel(adapter: PipelineAdapter, scheduler: str, keep: str) -> None:
    mask = random_mask(1)
    sampling = replace(SMALL, scheduler=scheduler, image=replace(OPTIONS, keep=keep))
    for sample in generated(adapter, mask, sampling):
        guide, held = np.asarray(guide_image(sample.request)), mask if keep == "object" else ~mask
        assert np.array_equal(pixels(sample)[held], guide[held])
        assert (pixels(sample)[~held] != guide[~held]).any()


@pytest.mark.parametrize(("keep", "shown"), [("object", True), ("scene", False)])
def test_a_mask_of_all_gives_the_guide_image_itself(adapter: PipelineAdapter, keep: str, shown: bool) -> None:
    sampling = replace(SMALL, image=replace(OPTIONS, keep=keep))
    for sample in generated(adapter, np.full((SIZE, SIZE), shown), sampling):
        assert np.array_equal(pixels(sample), np.asarray(guide_image(sample.request)))
        assert sample.mask is not None
        assert sample.mask.min() == 1


@pytest.mark.parametrize(("keep", "shown"), [("object", False), ("scene", True)])
@pytest.mark.parametrize("scheduler", ["ddim", "ddpm", "dpm++"])
def test_a_mask_of_nothing_gives_what_text_alone_gives(
    adapter: PipelineAdapter, keep: str, shown: bool, scheduler: str
) -> None:
    sampling = replace(SMALL, scheduler=scheduler, image=replace(OPTIONS, keep=keep))
    bare = generated(adapter, None, sampling)
    for sample, alone in zip(generated(adapter, np.full((SIZE, SIZE), shown), sampling), bare, strict=True):
        assert torch.equal(sample.latents, alone.latents)
        assert np.array_equal(pixels(sample), pixels(alone))
        assert sample.mask is not None
        assert sample.mask.max() == 0


def test_on_latents_the_pull_is_full_to_the_last_step(adapter: PipelineAdapter) -> None:
    """Where a latent is held it ends as the guide's own, whatever `offset` says."""
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    mask[:, : SIZE // 2] = True
    (whole,), (half,) = (generated(adapter, one, count=1) for one in (np.ones_like(mask), mask))
    assert half.mask is not None
    held = half.mask.bool()
    assert 0 < held.float().mean() < 1
    assert torch.allclose(half.latents[:, held], whole.latents[:, held], atol=1e-5)
    solver = make_own_solver(adapter, SMALL)
    assert OPTIONS.gamma(len(solver) - 1, solver) == OPTIONS.strength == 1
    assert not OPTIONS.attends


def test_the_mask_is_named_by_its_sum(adapter: PipelineAdapter) -> None:
    sums = [generated(adapter, random_mask(seed), count=1)[0].held for seed in (1, 1, 2)]
    assert sums[0] == sums[1] != sums[2]
    assert generated(adapter, None, count=1)[0].held is None


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40), st.sampled_from(KEEP))
def test_at_any_size_the_composite_is_the_guide_image_where_it_is_held(seed: int, height: int, width: int, keep: str) -> None:
    rng = np.random.default_rng(seed)
    image, picture = (Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in ((height, width), (16, 16)))
    held = Held.of(image, random_mask(seed, height, width), 16, keep)
    out = np.asarray(held.composite(picture))
    assert np.array_equal(out[held.pixels], np.asarray(held.image)[held.pixels])
    assert np.array_equal(out[~held.pixels], np.asarray(picture)[~held.pixels])
    latents = held.on_latents(4, 4)[0]
    share = torch.from_numpy(held.pixels.copy()).float().reshape(4, 4, 4, 4).mean(dim=(1, 3))
    assert torch.equal(latents.bool(), share > (0 if keep == "object" else 0.5))


def test_no_pixel_of_a_small_object_is_lost() -> None:
    mask = np.zeros((64, 64), dtype=bool)
    mask[17, 42] = True
    held = Held.of(Image.new("RGB", (64, 64)), mask, 16, "object")
    assert held.pixels.sum() == 1
    assert held.pixels[4, 10]
    assert held.on_latents(4, 4)[0, 1, 2] == 1
