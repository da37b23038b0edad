"""The generator that comes with the package."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from safetensors import safe_open

from actgen.classifiers.classifier import create_classifier
from actgen.core.assets import bundled_generator
from actgen.core.frozen import frozen
from actgen.core.types import HardExample, Progress, Source
from actgen.data.datasets.idx import FASHION_MNIST_CLASSES
from actgen.diffusion.pipeline import PipelineAdapter
from actgen.generation.presets import PRESETS
from actgen.generation.sampler import ImageSampler
from actgen.generation.sampling_context import SamplingContext
from actgen.generation.strategies.actgen import ActGen
from actgen.generation.strategies.text_only import TextOnly

FOLDER = bundled_generator()


def test_it_is_small_half_precision_and_safe() -> None:
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 16_000_000
    assert not [path for path in files if path.suffix in (".bin", ".pt", ".ckpt", ".pkl")]
    for path in FOLDER.rglob("*.safetensors"):
        with safe_open(path, "pt") as weights:
            names = list(weights.keys())
            assert {weights.get_tensor(name).dtype for name in names if "position_ids" not in name} == {torch.float16}


def test_its_card_says_what_it_was_made_from() -> None:
    facts = json.loads((FOLDER / "training.json").read_text(encoding="utf-8"))
    assert facts["images"] == 60_000  # the training images and no test image
    assert tuple(facts["classes"]) == FASHION_MNIST_CLASSES
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    for word in ("finetune --from-scratch", "seed", "wall minutes", "Device", "Measured quality"):
        assert word in card, word


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_stock_diffusers_loads_it() -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(str(FOLDER), dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    image = pipeline("a photo of ankle boot", num_inference_steps=4, guidance_scale=1.0, output_type="np").images
    assert image.shape == (1, 32, 32, 3)
    assert float(image.std()) > 0.05


def test_its_classes_differ() -> None:
    """Trousers are upright and sneakers flat: the mean generating of each class says so."""
    sampler = ImageSampler.from_pretrained(str(FOLDER), preset="tiny")
    requests = [
        request
        for request in TextOnly().plan([], FASHION_MNIST_CLASSES, 80, Progress(epoch=0, epochs=1), 0)
        if request.class_name in ("trouser", "sneaker")
    ]
    right = []
    for sample in sampler.generate(requests):
        pixels = torch.from_numpy(np.array(sample.image.convert("L")))
        wide, high = (pixels.amax(dim=0) > 60).sum(), (pixels.amax(dim=1) > 60).sum()
        right.append(bool(high > wide) == (sample.request.class_name == "trouser"))
    assert sum(right) >= 0.9 * len(right) > 0


def test_the_same_picture_in_any_batch() -> None:
    """Float32 on the CPU, all guides: latents within 1e-5 of max(1, largest entry), so pictures within a grey level."""
    adapter = PipelineAdapter.from_pretrained(str(FOLDER))
    classifier = create_classifier("actgen/small-cnn", 10, data_size=32, seed=1)
    rng = np.random.default_rng(0)
    guide = Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
    hard_examples = [
        HardExample(
            source=Source(split="train", index=i, key=f"train/{i}"), label=i % 10, predicted=0, loss=1.0, probability=0.1
        )
        for i in range(8)
    ]
    requests = [
        replace(request, guides=("image", "contrastive", "adversarial"))
        for request in ActGen(curriculum=False).plan(hard_examples, FASHION_MNIST_CLASSES, 8, Progress(epoch=0, epochs=2), 0)
    ]
    generated = []
    for size in (8, 3, 1):
        sampler = ImageSampler(adapter, replace(PRESETS["tiny"], batch_size=size, num_inference_steps=10))
        for label in range(10):
            sampler.bank.add(label, torch.zeros(adapter.latent_shape))
        with frozen(classifier):
            samples = {
                s.request.key: s
                for s in sampler.generate(requests, SamplingContext(guide_image=lambda _: guide, classifier=classifier))
            }
        generated.append([samples[request.key] for request in requests])
    for others in generated[1:]:
        for one, other in zip(generated[0], others, strict=True):
            largest = max(1.0, float(other.latents.abs().max()))
            torch.testing.assert_close(one.latents, other.latents, atol=1e-5 * largest, rtol=0)
