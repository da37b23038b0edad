"""A guide from outside the package: one class, registered by name, takes part in a round like those that are built in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from actgen.classifiers.classifier import create_classifier
from actgen.core.errors import UserError
from actgen.core.types import Progress, Request, Sample
from actgen.data.datasets.sources import load_data
from actgen.data.store.rounds import RoundFiles
from actgen.data.store.store import Store
from actgen.diffusion.denoising import BoundGuide, Step
from actgen.diffusion.guides import GUIDES, needs_of, register_guide
from actgen.diffusion.guides.entropy import EntropyGuidance
from actgen.diffusion.guides.guide import ATTENTION, BANK, CLASSIFIER, NEEDS, SOURCE, Guide, GuideContext
from actgen.diffusion.guides.image import ImageGuidance
from actgen.diffusion.guides.text import TextGuidance
from actgen.diffusion.pipeline import PipelineAdapter
from actgen.generation.batching import Opener
from actgen.generation.presets import SamplingConfig
from actgen.generation.round import Round
from actgen.generation.sampler import ImageSampler
from actgen.generation.sampling_context import SamplingContext
from actgen.generation.strategies.guided import Guided
from tests.conftest import read_lines
from tests.support.families import CLASSES, FAMILIES
from tests.support.sampler_parts import guide_image, requests

SMALL = SamplingConfig(num_inference_steps=4, scheduler="ddim", guidance_scale=1.0)


# what somebody else writes: a file of their own


class BoundToTheEnd(BoundGuide):
    """Moves the last latents by the share `weight` towards `target`."""

    def __init__(self, weight: float, target: Tensor) -> None:
        self.weight, self.target = weight, target

    def apply(self, step: Step) -> Step:
        if step.index + 1 < step.steps:
            return step
        return step.with_next_latents(step.next_latents + self.weight * (self.target - step.next_latents))


@dataclass
class ToTheSource(Guide):
    """Ends nearer to the source image, if the classifier, which it looks at, gives a number."""

    weight: float
    name: str = "to-the-source"
    needs: frozenset[str] = frozenset({SOURCE, CLASSIFIER})

    def bind(self, context: GuideContext) -> BoundToTheEnd:
        assert context.source is not None
        assert bool(torch.isfinite(context.logits(context.source)).all())
        return BoundToTheEnd(self.weight, context.source)


class FromTheBank(Guide):
    """Ends as what was generated first of the class."""

    name = "from-the-bank"
    needs = frozenset({BANK})

    def bind(self, context: GuideContext) -> BoundToTheEnd:
        return BoundToTheEnd(1.0, torch.stack([context.earlier(request.label)[0] for request in context.requests]))


class Mine(Guided):
    """A strategy that asks for it."""

    name = "mine"
    guides = ("image", "to-the-source")


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    before = dict(GUIDES)
    for guide in (ToTheSource(1.0), ToTheSource(0.0, "nowhere"), FromTheBank()):
        register_guide(guide)
    yield
    GUIDES.clear()
    GUIDES.update(before)


@pytest.fixture(scope="module")
def adapter() -> PipelineAdapter:
    return PipelineAdapter(FAMILIES["sd1"](), "sd1")


def generated(adapter: PipelineAdapter, asked: list[Request]) -> list[Sample]:
    context = SamplingContext(guide_image=guide_image, classifier=create_classifier("actgen/small-cnn", 4, data_size=32))
    return list(ImageSampler(adapter, SMALL).generate(asked, context))


def test_it_pulls_as_it_says(adapter: PipelineAdapter) -> None:
    free, nowhere, there = (generated(adapter, requests(2, guides)) for guides in ((), ("nowhere",), ("to-the-source",)))
    context = SamplingContext(guide_image=guide_image)
    opener = Opener(adapter, SMALL, ImageSampler(adapter, SMALL).bank, context)
    with adapter.borrowed():
        source = opener.open(asked := [replace(one, strength=0.5) for one in requests(2, ())], opener.kind(asked[0])).batch
    assert source.source_BCHW is not None
    for one, same, other, wanted in zip(free, nowhere, there, source.source_BCHW, strict=True):
        torch.testing.assert_close(same.latents, one.latents, atol=0, rtol=0)
        torch.testing.assert_close(other.latents, wanted.cpu(), atol=1e-5, rtol=1e-5)
        assert float((other.latents - one.latents).abs().max()) > 0.1


def test_it_acts_together_with_those_that_are_built_in(adapter: PipelineAdapter) -> None:
    (first, second) = generated(adapter, requests(2, ("image", "to-the-source")))
    assert first.mask is not None
    assert second.mask is not None


def test_one_that_needs_the_bank_waits_for_it(adapter: PipelineAdapter) -> None:
    sampler, asked = ImageSampler(adapter, SMALL), requests(2, ("from-the-bank",))
    free = generated(adapter, requests(2, ()))
    assert all(torch.equal(one.latents, other.latents) for one, other in zip(sampler.generate(asked), free, strict=True))
    remembered = torch.full(adapter.latent_shape, 0.25)
    sampler.bank.add(asked[1].label, remembered)
    first, second = sampler.generate(asked)
    torch.testing.assert_close(first.latents, free[0].latents, atol=1e-4, rtol=1e-4)  # of another batch
    torch.testing.assert_close(second.latents, remembered, atol=1e-6, rtol=1e-6)


def test_a_round_generates_with_it_and_keeps_what_it_looks_at(digits: Path, tiny_generator: Path, tmp_path: Path) -> None:
    real = load_data(str(digits)).train
    sampler = ImageSampler.from_pretrained(str(tiny_generator), preset="tiny")
    sampler.sampling = replace(sampler.sampling, num_inference_steps=3)
    round_ = Round(
        sampler=sampler,
        strategy=Mine(curriculum=False),
        store=Store(tmp_path / "store"),
        pool=real,
        files=RoundFiles(tmp_path / "rounds"),
    )
    classifier = create_classifier("actgen/small-cnn", len(real.class_names), data_size=32)
    assert len(round_(classifier, Progress(epoch=0, epochs=2), 3)) == 3
    rows = read_lines(tmp_path / "store" / "metadata.jsonl")
    assert [row["guides"] for row in rows] == [["image", "to-the-source"]] * 3
    assert RoundFiles(tmp_path / "rounds").classifier_path(0).is_file()
    assert len(sampler.bank) == 3


def test_names_are_taken_once_and_unknown_ones_refused(adapter: PipelineAdapter) -> None:
    with pytest.raises(UserError, match="called image already"):
        register_guide(ToTheSource(1.0, "image"))
    with pytest.raises(UserError, match="needs has 'luck' is unknown; allowed: attention"):
        register_guide(ToTheSource(1.0, "lucky", frozenset({"luck"})))
    with pytest.raises(UserError, match="guide 'elsewhere' is unknown; allowed: contrastive"):
        generated(adapter, requests(1, ("elsewhere",)))
    assert "lucky" not in GUIDES


# what is built in says what it needs


@pytest.mark.parametrize(
    ("guides", "sampling", "needs"),
    [
        ((), SMALL, set()),
        (("image",), SMALL, {SOURCE, ATTENTION}),
        (("image",), replace(SMALL, image=ImageGuidance(mask="none")), {SOURCE}),
        (("image",), replace(SMALL, image=ImageGuidance(mask="given")), {SOURCE, "masks"}),
        (("whole-image",), SMALL, {SOURCE}),
        (("contrastive",), SMALL, {BANK}),
        (("contrastive",), replace(SMALL, text=TextGuidance(contrast_in="features")), {BANK, CLASSIFIER}),
        (("contrastive", "adversarial"), SMALL, {BANK, CLASSIFIER}),
        (("contrastive", "adversarial"), replace(SMALL, text=TextGuidance(until=0.0)), set()),
        (("entropy",), SMALL, {CLASSIFIER}),
        (("entropy",), replace(SMALL, entropy=EntropyGuidance(scale=0.0)), set()),
    ],
)
def test_needs_follow_the_settings(guides: tuple[str, ...], sampling: SamplingConfig, needs: set[str]) -> None:
    (request,) = requests(1, guides)
    assert needs_of(request, sampling) == needs <= NEEDS
    assert needs_of(replace(request, strength=0.5), sampling) == needs | {SOURCE}


def test_both_losses_share_one_gradient_step(adapter: PipelineAdapter) -> None:
    sampler = ImageSampler(adapter, SMALL)
    for label in range(len(CLASSES)):
        sampler.bank.add(label, torch.zeros(adapter.latent_shape))
    opener = Opener(adapter, SMALL, sampler.bank)
    asked = requests(2, ("adversarial", "contrastive"))
    with adapter.borrowed():
        opened = opener.open(asked, opener.kind(asked[0]))
    assert len(opened.guides) == 1
