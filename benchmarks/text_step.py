"""How long a step on the text embedding (nu) does something and does no harm? Chosen on validation images, no test image seen.

    python benchmarks/text_step.py [--steps 0,0.01,0.1] [--images 200] [--set sampling.text.until=0.5 ...]

A small classifier is trained briefly on three quarters of the bundled images; the guides are the validation images (the
rest) with the highest loss. Every line is generated from the same seeds as `attentive`, its first line:

grey levels      mean difference of a pixel from `attentive`, of 255
loss             cross-entropy of the classifier on the guide's class
judge            share of the images that the bundled CLIP, which had no part in generating, gives the guide's class
spread           mean distance of two images of a class, in grey levels of a pixel

The bank holds eight attentive generated images a class, from other seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from actgen.classifiers.classifier import Classifier, create_classifier
from actgen.classifiers.predictions import predict, predict_pixels
from actgen.classifiers.zero_shot import ZeroShot
from actgen.core.assets import bundled_generator
from actgen.core.class_words import class_prompt
from actgen.core.frozen import frozen
from actgen.core.rng import derive, permutation
from actgen.core.types import Request, Sample, Source
from actgen.data.datasets.imageset import ImageSet, fit_square, stack_pixels
from actgen.data.datasets.sources import load_data
from actgen.data.datasets.splits import hold_out
from actgen.diffusion.guides.bank import MemoryBank
from actgen.diffusion.pipeline import PipelineAdapter
from actgen.experiment.config import build_recipe
from actgen.generation.presets import SamplingConfig
from actgen.generation.sampler import ImageSampler
from actgen.generation.sampling_context import SamplingContext

IMAGE, CONTRASTIVE, ADVERSARIAL = "image", "contrastive", "adversarial"
ARMS = {
    "+ contrastive": (IMAGE, CONTRASTIVE),
    "+ adversarial": (IMAGE, ADVERSARIAL),
    "actgen (both)": (IMAGE, CONTRASTIVE, ADVERSARIAL),
}
REMEMBERED = 8


@dataclass(frozen=True, kw_only=True)
class Line:
    """What one way of generating came to, beside `attentive`."""

    grey_levels: float
    loss: float
    judged_right: float
    spread: float


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The parts that every line shares."""

    adapter: PipelineAdapter
    classifier: Classifier
    judge: ZeroShot
    validation: ImageSet
    requests: Sequence[Request]

    def generate(
        self, sampling: SamplingConfig, guides: Sequence[str], bank: MemoryBank | None = None, shift: int = 0
    ) -> list[Sample]:
        """Generate every request once, with these guides; `shift` takes other seeds."""
        asked = [replace(request, guides=tuple(guides), seed=request.seed + shift) for request in self.requests]
        with frozen(self.classifier):
            return list(
                ImageSampler(self.adapter, sampling, bank).generate(
                    asked, SamplingContext(guide_image=self.guide, classifier=self.classifier)
                )
            )

    def guide(self, request: Request) -> Image.Image:
        """Return the real image that a request names."""
        assert request.source is not None
        return self.validation.image(request.source.index)

    def bank(self, sampling: SamplingConfig) -> MemoryBank:
        """Return what an earlier round would have left."""
        bank = MemoryBank(REMEMBERED)
        for sample in self.generate(sampling, [IMAGE], shift=1):
            bank.add(sample.request.label, sample.latents)
        return bank

    def measure(self, samples: Sequence[Sample], attentive: Sequence[Sample]) -> Line:
        """Return the line of these samples."""
        labels = torch.tensor([sample.request.label for sample in samples])
        pixels = stack_pixels([fit_square(sample.image, self.classifier.image_size) for sample in samples])
        losses = F.cross_entropy(predict_pixels(self.classifier, pixels), labels)
        right = self.judge.probabilities([sample.image for sample in samples]).argmax(dim=1) == labels
        apart = [abs(grey(one) - grey(other)).mean() for one, other in zip(samples, attentive, strict=True)]
        return Line(
            grey_levels=float(np.mean(apart)),
            loss=float(losses),
            judged_right=float(right.float().mean()),
            spread=spread(samples),
        )


def grey(sample: Sample) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return a sample's pixels as numbers."""
    return np.asarray(sample.image, dtype=np.float64)


def spread(samples: Sequence[Sample]) -> float:
    """Return the mean distance of two images of one class, in grey levels of a pixel; at most six of a class are compared."""
    members: dict[int, list[Sample]] = {}
    for sample in samples:
        members.setdefault(sample.request.label, []).append(sample)
    pairs = [pair for several in members.values() for pair in combinations(several[:6], 2)]
    return float(np.mean([abs(grey(one) - grey(other)).mean() for one, other in pairs]))


def brief_training(images: ImageSet, epochs: int = 6, batch: int = 50) -> Classifier:
    """Return a small classifier after a short training."""
    classifier = create_classifier("actgen/tiny-cnn", len(images.class_names), data_size=32)
    pixels = stack_pixels([fit_square(images.image(i), classifier.image_size) for i in range(len(images.labels))])
    labels = torch.tensor(list(images.labels))
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=2e-3)
    classifier.train()
    for epoch in range(epochs):
        for rows in torch.tensor(permutation(len(labels), 0, "text-step", epoch)).split(batch):
            optimizer.zero_grad()
            F.cross_entropy(classifier(pixels[rows].float() / 255.0), labels[rows]).backward()
            optimizer.step()
    return classifier.eval()


def hard_requests(classifier: Classifier, validation: ImageSet, count: int) -> list[Request]:
    """Return a request for each of the `count` validation images with the highest loss."""
    losses = predict(classifier, validation).losses_N
    return [
        Request(
            key=f"k{n}",
            label=(label := validation.labels[i]),
            class_name=validation.class_names[label],
            prompt=class_prompt(validation.class_names[label]),
            seed=derive(0, "text-step", n),
            strategy="benchmark",
            round=0,
            source=Source(split="validation", index=i, key=validation.keys[i]),
        )
        for n, i in enumerate(losses.argsort(descending=True).tolist()[:count])
    ]


def open_bench(count: int) -> Bench:
    """Train the classifier and choose `count` guides."""
    train, validation = hold_out(load_data("fashion-mnist-mini").train, 0.25, 0)
    classifier = brief_training(train)
    return Bench(
        adapter=PipelineAdapter.from_pretrained(str(bundled_generator())),
        classifier=classifier,
        judge=ZeroShot("bundled", train.class_names, given="the judge"),
        validation=validation,
        requests=hard_requests(classifier, validation, count),
    )


def compare(
    bench: Bench, sampling: SamplingConfig, steps: Sequence[float], arms: Mapping[str, Sequence[str]]
) -> dict[str, Line]:
    """Return a line for `attentive`, and for every arm at every length of the step."""
    attentive, bank = bench.generate(sampling, [IMAGE]), bench.bank(sampling)
    lines = {"attentive": bench.measure(attentive, attentive)}
    for size in steps:
        stepping = replace(sampling, text=replace(sampling.text, step_size=size))
        for name, guides in arms.items():
            generated = bench.generate(stepping, guides, bank if CONTRASTIVE in guides else None)
            lines[f"{name} | {size:g}"] = bench.measure(generated, attentive)
    return lines


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", default="0.01,0.03,0.1,0.2,0.3,0.5")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the recipe, for all lines")
    given = parser.parse_args()
    sampling = build_recipe(settings=["generation.preset=tiny", *given.set]).sampling
    print("| guides | nu | grey levels | loss | judge | spread |\n|---|---|---|---|---|---|")
    lines = compare(open_bench(given.images), sampling, [float(size) for size in given.steps.split(",")], ARMS)
    for name, line in lines.items():
        shown = name if "|" in name else f"{name} | "
        print(f"| {shown} | {line.grey_levels:.2f} | {line.loss:.3f} | {100 * line.judged_right:.1f}% | {line.spread:.1f} |")


if __name__ == "__main__":
    main()
