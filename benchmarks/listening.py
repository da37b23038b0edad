"""What does listening to attention cost? Seconds of a step of the bundled generator, guided by an image and not guided.

    python benchmarks/listening.py [--images 32] [--repeats 9]

The image guide reads the layers of the default maps in every step and pulls in every step; the median over pairs of runs that
take turns, so that a busy machine slows both.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace

import torch

import actgen
from actgen.diffusion.denoising import Batch, BoundGuide, ClassifierFreeGuidance, denoise
from actgen.diffusion.guides.image import BoundImage, ImageGuidance
from actgen.diffusion.pipeline import PipelineAdapter
from actgen.generation.batching import make_own_solver, map_resolution
from actgen.generation.presets import PRESETS

PROMPT, WORDS = "a photo of ankle boot", [4, 5]


def main() -> None:
    """Print the seconds of a step, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=9)
    given = parser.parse_args()
    adapter = PipelineAdapter.from_pretrained(str(actgen.bundled_generator()))
    sampling = PRESETS["tiny"]
    solver = make_own_solver(adapter, sampling)
    noise = torch.randn((given.images, *adapter.latent_shape), generator=torch.Generator().manual_seed(1))
    batch = Batch(adapter.encode_text([PROMPT] * given.images), noise, lambda _: torch.zeros(()))

    def seconds(guides: list[BoundGuide]) -> float:
        began = time.perf_counter()
        with adapter.borrowed():
            steps = denoise(
                adapter,
                solver,
                batch,
                classifier_free_guidance=ClassifierFreeGuidance(scale=1.0),
                guides=guides,
                attention_resolution=map_resolution(adapter, sampling),
            )
            for _ in steps:
                pass
        return (time.perf_counter() - began) / len(solver)

    def guide() -> BoundImage:
        options = replace(ImageGuidance(), offset=1e9, negligible=0.0)
        return BoundImage(options, solver, noise, noise, [WORDS] * given.images)

    pairs = [(seconds([]), seconds([guide()])) for _ in range(given.repeats + 1)][1:]
    plain, guided = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(after / before for before, after in pairs)
    print(f"{1e3 * plain:.2f} ms a step unguided, {1e3 * guided:.2f} ms guided, ratio {ratio:.3f}, {given.images} images")


if __name__ == "__main__":
    main()
