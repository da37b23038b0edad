"""How good is a generator as a source of training images?

    python benchmarks/generator_quality.py --data idx:DIR [--generator FOLDER] [--work DIR] [--json FILE]

For a generator of the classes of an IDX data set (the full Fashion-MNIST), four figures:

(a) classification accuracy score (Ravuri & Vinyals 2019): test accuracy of `actgen/small-cnn` trained on N generated
    images alone, N = 2,000 and 10,000;
(b) recognition: the share of 1,000 text-only images that a classifier trained on all real training images assigns to the
    prompted class;
(c) coverage (Naeem et al. 2020): the share of real test images whose 5-nearest-neighbour ball among the real test images
    holds a generated one, in the pooled features of that classifier, 10,000 against 10,000;
(d) seconds an image.

Resumable: every part keeps its result in --work. With --choose it scores samplers and epochs of the scoring classifier by (a)
on held-out *training* images.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from actgen.classifiers.classifier import Classifier, create_classifier
from actgen.classifiers.predictions import describe_pixels, predict_pixels
from actgen.core.assets import bundled_generator
from actgen.core.types import Progress
from actgen.data.datasets.idx import read_idx_split
from actgen.data.datasets.imageset import ArrayImages, Subset, to_pixels
from actgen.data.datasets.sources import RealData
from actgen.data.datasets.splits import hold_out
from actgen.diffusion.pipeline import PipelineAdapter
from actgen.experiment.config import Recipe
from actgen.experiment.run import run
from actgen.generation.presets import PRESETS, SamplingConfig
from actgen.generation.sampler import ImageSampler
from actgen.generation.strategies.text_only import TextOnly
from actgen.studies.probe.neighbours import coverage
from actgen.training.options import TrainingOptions

SAMPLERS = ((20, 1.0, 0.0), (20, 1.5, 0.0))  # steps, guidance scale, eta
EPOCHS = (30, 75)  # of the scoring classifier on 2,000 images: 75 are the optimiser steps that 10,000 images get in 15
SCORING = {2_000: 75, 10_000: 15}  # chosen by --choose


def recipe(epochs: int, seed: int) -> Recipe:
    """The demo's training recipe, on whatever images are given as real ones."""
    return Recipe(strategy="none", seed=seed, training=TrainingOptions(epochs=epochs, test_every=10_000))


def generate(sampler: ImageSampler, names: Sequence[str], count: int, seed: int) -> tuple[ArrayImages, float]:
    """Generate `count` balanced text-only images; return them and the seconds an image."""
    requests = TextOnly().plan([], names, count, Progress(epoch=0, epochs=1), seed)
    began = time.perf_counter()
    samples = list(sampler.generate(requests))
    seconds = (time.perf_counter() - began) / count
    pixels = np.stack([np.asarray(sample.image, dtype=np.uint8) for sample in samples])
    labels = tuple(sample.request.label for sample in samples)
    return ArrayImages(pixels, labels, tuple(names), tuple(sample.request.key for sample in samples)), seconds


def accuracy_of(train: Any, test: Any, epochs: int, seed: int, folder: Path) -> float:
    """Train `actgen/small-cnn` on `train` in `folder` and return its accuracy on `test` in percent."""
    summary = run(recipe(epochs, seed), folder, data=RealData("images", train, test))
    accuracy = summary["test_accuracy"]
    assert accuracy is not None  # there are test images
    return accuracy


def reference(train: ArrayImages, test: ArrayImages, work: Path) -> tuple[Classifier, float]:
    """Return the classifier trained on all real training images, and its test accuracy in percent."""
    accuracy = accuracy_of(train, test, 8, 0, work / "reference")
    classifier = create_classifier("actgen/small-cnn", len(train.class_names), data_size=32)
    classifier.load_state_dict(load_file(work / "reference" / "classifier.safetensors"))
    return classifier.eval(), accuracy


def name_of(*facts: object) -> str:
    """Return a short folder name that belongs to these facts alone."""
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:12]


def measure(generator: Path, sampling: SamplingConfig, data: str, work: Path) -> dict[str, Any]:
    """Return the four figures of a generator."""
    folder = Path(data.removeprefix("idx:"))
    train, test = read_idx_split(folder, "train"), read_idx_split(folder, "test")
    work = work / name_of(train.labels, test.labels)
    classifier, accuracy = reference(train, test, work)
    sampler = ImageSampler(PipelineAdapter.from_pretrained(str(generator)), sampling)
    ten, seconds = generate(sampler, train.class_names, 10_000, seed=1)
    facts: dict[str, Any] = {"generator_hash": sampler.adapter.weights_hash, "sampling": asdict(sampling)}
    facts |= {"reference_accuracy": accuracy, "seconds_an_image": round(seconds, 4)}
    for count, epochs in SCORING.items():
        part = Subset(ten, tuple(range(count)))
        place = work / f"cas-{count}-{name_of(sampler.adapter.weights_hash, sampling, epochs)}"
        facts[f"cas_{count}"] = accuracy_of(part, test, epochs, 0, place)
    pixels = to_pixels(ten, 32)
    thousand = predict_pixels(classifier, pixels[:1000]).argmax(dim=1)
    facts["recognised"] = round(100 * float((thousand == torch.tensor(ten.labels[:1000])).float().mean()), 2)
    real, generated = (describe_pixels(classifier, some) for some in (to_pixels(test, 32), pixels))
    facts["coverage"] = round(coverage(real, generated), 4)
    return facts


def choose(generator: Path, data: str, work: Path, count: int = 2_000) -> list[dict[str, Any]]:
    """Score samplers by (a) at `count` images, on 10,000 held-out training images; no test image is looked at."""
    train = read_idx_split(Path(data.removeprefix("idx:")), "train")
    validation = hold_out(train, 1 / 6, seed=2)[1]
    rows = []
    for steps, scale, eta in SAMPLERS:
        sampling = replace(PRESETS["tiny"], num_inference_steps=steps, guidance_scale=scale, eta=eta)  # its scheduler is DDIM
        sampler = ImageSampler(PipelineAdapter.from_pretrained(str(generator)), sampling)
        images, seconds = generate(sampler, train.class_names, count, seed=3)
        for epochs in EPOCHS:
            place = work / f"choose-{name_of(sampler.adapter.weights_hash, sampling, train.labels, epochs)}"
            rows.append(
                {
                    "steps": steps,
                    "guidance_scale": scale,
                    "eta": eta,
                    "seconds_an_image": round(seconds, 4),
                    "epochs": epochs,
                    "validation_cas": accuracy_of(images, validation, epochs, 0, place),
                }
            )
            print(json.dumps(rows[-1]), flush=True)
    return rows


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--generator", type=Path, default=bundled_generator())
    parser.add_argument("--work", type=Path, default=Path("runs/quality"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--choose", action="store_true")
    given = parser.parse_args()
    facts: Any
    if given.choose:
        facts = choose(given.generator, given.data, given.work)
    else:
        facts = measure(given.generator, PRESETS["tiny"], given.data, given.work)
    text = json.dumps(facts, indent=1)
    print(text)
    if given.json:
        given.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
