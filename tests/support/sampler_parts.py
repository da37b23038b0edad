"""What the tests of the engine share: requests, guide pictures, an opponent, and a generated image with a filled bank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from actgen.classifiers.classifier import Classifier
from actgen.core.frozen import frozen
from actgen.core.types import Request, Sample, Source
from actgen.diffusion.pipeline import PipelineAdapter
from actgen.generation.presets import SamplingConfig
from actgen.generation.sampler import ImageSampler
from actgen.generation.sampling_context import SamplingContext
from tests.support.families import CLASSES

ALL = ("image", "contrastive", "adversarial")


def requests(count: int, guides: tuple[str, ...], names: Sequence[str] = CLASSES) -> list[Request]:
    """Return requests with a seed of their own, the classes in turn."""
    return [
        Request(
            key=f"k{n}",
            label=n % len(names),
            class_name=names[n % len(names)],
            prompt=f"a photo of {names[n % len(names)]}",
            seed=100 + n,
            strategy="test",
            round=0,
            source=Source(split="train", index=n, key=f"train/{n}"),
            guides=guides,
        )
        for n in range(count)
    ]


def guide_image(request: Request) -> Image.Image:
    """Return 32 pixels of noise that belong to the request."""
    rng = np.random.default_rng(request.seed)
    return Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))


def filled_artist(adapter: PipelineAdapter, sampling: SamplingConfig, labels: int = 4) -> ImageSampler:
    """Return a sampler with one remembered picture of every label."""
    sampler = ImageSampler(adapter, sampling)
    for label in range(labels):
        sampler.bank.add(label, torch.full(adapter.latent_shape, 0.1 * label))
    return sampler


def generate(adapter: PipelineAdapter, wanted: list[Request], classifier: Classifier, sampling: SamplingConfig) -> list[Sample]:
    """Generate with every guide's needs met."""
    sampler = filled_artist(adapter, sampling)
    with frozen(classifier):
        return list(sampler.generate(wanted, SamplingContext(guide_image=guide_image, classifier=classifier)))


def state_of(adapter: PipelineAdapter) -> Any:
    """Return everything about a pipeline that must come back as it was found."""
    networks = adapter.networks
    flags = ("training", "gradient_checkpointing", "use_slicing", "use_tiling")
    return (
        {name: id(processor) for name, processor in adapter.unet.attn_processors.items()},
        [[module.__dict__.get(flag) for flag in flags] for network in networks for module in network.modules()],
        [(id(p), p.requires_grad, p.dtype, p.device) for network in networks for p in network.parameters()],
        [(b.dtype, b.device) for network in networks for b in network.buffers()],
        [float(p.detach().double().sum()) for network in networks for p in network.parameters()],
        id(adapter.pipeline.scheduler),
        dict(adapter.pipeline.scheduler.config),
        str(getattr(adapter.pipeline.scheduler, "timesteps", None)),
    )
