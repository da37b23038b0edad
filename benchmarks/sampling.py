"""What does a shorter schedule cost? Presets side by side on the bundled generator, guided by real training images.

    python benchmarks/sampling.py --data idx:DIR [--work DIR] [--json FILE] [--images N]

For every sampler, attentive image guidance with the same guides and the same noise:

recognised   share of the images that a classifier of all real training images assigns to the guide's class
spread       mean distance of two images of the same class in that classifier's unit features (variety)
to guide     mean distance of an image to its guide in the same features (0: a copy)
seconds      an image

The guides are training images; no test image is looked at. The classifier is the one of `generator_quality.py`, trained in
--work if it is not there.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from actgen.classifiers.predictions import describe_pixels
from actgen.core.assets import bundled_generator
from actgen.core.class_words import class_prompt
from actgen.core.rng import derive, permutation
from actgen.core.types import Request, Source
from actgen.data.datasets.idx import read_idx_split
from actgen.data.datasets.imageset import ArrayImages, stack_pixels
from actgen.diffusion.pipeline import PipelineAdapter
from actgen.generation.presets import PRESETS, SamplingConfig
from actgen.generation.sampler import ImageSampler
from actgen.generation.sampling_context import SamplingContext

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the other files of this folder
SCALE = 3.0  # of classifier-free guidance, for all: 7.5 is for Stable Diffusion, 1 is the bundled generator's best


def samplers() -> dict[str, SamplingConfig]:
    """Return what is compared, each at the same guidance scale."""
    default = PRESETS["default"]
    named = {
        "40 DDPM steps, guidance in all (paper, code)": PRESETS["paper"],
        "40 DDPM steps, guidance from 0.2 to 0.6": replace(default, num_inference_steps=40, scheduler="ddpm"),
        "25 DPM++ steps, guidance in all": replace(default, guidance_start=0.0, guidance_stop=1.0),
        "25 DPM++ steps, guidance from 0.2 to 0.6 (default)": default,
        "20 DPM++ steps, guidance from 0.3 to 0.5, mask to 0.25 (fast)": PRESETS["fast"],
        "50 DPM++ steps, guidance in all (quality)": PRESETS["quality"],
    }
    return {
        name: replace(
            sampling, guidance_scale=SCALE, attention_resolution=8, batch_size=50, image=replace(sampling.image, offset=18.0)
        )  # the bundled generator's hand-over, see presets.py
        for name, sampling in named.items()
    }


def guided_requests(train: ArrayImages, count: int) -> list[Request]:
    """Return requests with `count` training images as guides."""
    return [
        Request(
            key=f"k{n}",
            label=train.labels[i],
            class_name=train.class_names[train.labels[i]],
            prompt=class_prompt(train.class_names[train.labels[i]]),
            seed=derive(0, "sampling", n),
            strategy="benchmark",
            round=0,
            source=Source(split="train", index=i, key=train.keys[i]),
            guides=("image",),
        )
        for n, i in enumerate(permutation(len(train.labels), 0, "sampling")[:count])
    ]


def score(features: Tensor, guides: Tensor, labels: Sequence[int]) -> dict[str, float]:
    """Return spread and distance to the guides of features [N, D]."""
    unit, real, classes = F.normalize(features), F.normalize(guides), torch.tensor(list(labels))
    apart = torch.cdist(unit, unit)
    same = (classes[:, None] == classes[None]) & ~torch.eye(len(unit), dtype=torch.bool)
    return {"spread": round(float(apart[same].mean()), 4), "to_guide": round(float((unit - real).norm(dim=1).mean()), 4)}


def main() -> None:
    """Parse, measure, print."""
    from benchmarks.generator_quality import name_of, reference

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/quality"))
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    folder = Path(given.data.removeprefix("idx:"))
    train, test = read_idx_split(folder, "train"), read_idx_split(folder, "test")
    classifier, _ = reference(train, test, given.work / name_of(train.labels, test.labels))
    adapter = PipelineAdapter.from_pretrained(str(bundled_generator()))
    requests = guided_requests(train, given.images)
    labels = [request.label for request in requests]
    guides = stack_pixels([train.image(r.source.index).resize((32, 32)) for r in requests if r.source])
    real = describe_pixels(classifier, guides)
    facts: list[dict[str, Any]] = []
    for name, sampling in samplers().items():
        began = time.perf_counter()
        context = SamplingContext(guide_image=lambda r: train.image(r.source.index))  # type: ignore[union-attr]
        samples = list(ImageSampler(adapter, sampling).generate(requests, context))
        seconds = (time.perf_counter() - began) / len(samples)
        seen = describe_pixels(classifier, stack_pixels([sample.image for sample in samples]))
        network: Any = classifier.model
        right = network.head(seen).argmax(dim=1) == torch.tensor(labels)
        facts.append(
            {
                "sampler": name,
                "recognised": round(100 * float(right.float().mean()), 1),
                **score(seen, real, labels),
                "seconds": round(seconds, 4),
            }
        )
        print(json.dumps(facts[-1]), flush=True)
    if given.json:
        given.json.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
