"""How fast are guided images generated, and with how much memory?

    python benchmarks/generation.py [--json FILE] [--repeats N] [--compile]            the bundled generator, CPU
    python benchmarks/generation.py --geometry sd21 --device cuda --dtype float16      SD's exact size, random weights

Presets `code`, `default` and `fast`, each loss on and off, batches of 1, 4 and 16, beside a plain one-at-a-time loop
(`one_at_a_time.py`) with a plainly loaded pipeline, in one run and in turn, as ratios of images per second with the same
losses. The plain loop has the released numbers (40 steps of DDPM, classifier-free guidance in all of them), so that the ratio
of `default` has the gain of its shorter schedule in it; "same schedule" compares it with the plain loop at its own numbers.
`fast` takes no gradients; it stands beside the attentive plain loop, and below the table beside the one with all losses, too.
`--compile` adds rows of batch 16 with `loading.compile`; the seconds of compiling are told apart, in the row that came first.
Counted floating point operations over the time, as a share of the machine's own measured rate of matrix products, say how
much is left.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from actgen.classifiers.classifier import Classifier, create_classifier
from actgen.core.assets import bundled_generator
from actgen.core.frozen import frozen
from actgen.core.types import Request, Source
from actgen.data.datasets.idx import FASHION_MNIST_CLASSES
from actgen.diffusion.guides.bank import MemoryBank
from actgen.diffusion.loading import Loading
from actgen.diffusion.pipeline import PipelineAdapter
from actgen.generation.presets import PRESETS, SamplingConfig
from actgen.generation.sampler import ImageSampler
from actgen.generation.sampling_context import SamplingContext

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the other files of this folder

LOSSES: dict[str, tuple[str, ...]] = {
    "attentive": ("image",),
    "contrastive": ("image", "contrastive"),
    "adversarial": ("image", "adversarial"),
    "all": ("image", "contrastive", "adversarial"),
}
BATCHES = (1, 4, 16)
PLAIN, SHORT = "plain loop", "plain loop, schedule of default"
COMPILED = ", compiled"
BANK = 16  # latents remembered of each class
WANTED = {"all": 5.0, "attentive": 8.0, "fast": 20.0}


@dataclass
class Row:
    """One way of generating: `preset`, `losses`, `batch`; seconds an image, one a repeat."""

    preset: str
    losses: str
    batch: int
    generate: Callable[[int], None]
    seconds: list[float]
    peak_gib: float = 0.0
    teraflop: float = 0.0
    first: float = 0.0

    @property
    def compiled(self) -> bool:
        """Whether it generates with `loading.compile`."""
        return self.preset.endswith(COMPILED)

    def warm_up(self) -> None:
        """Generate two batches; note how many seconds the first took and, but for compiled code, which hides it, the work."""
        began = time.perf_counter()
        self.generate(self.batch)
        self.first = time.perf_counter() - began
        with nullcontext() if self.compiled else FlopCounterMode(display=False) as counter:
            self.generate(self.batch)
        self.teraflop = counter.get_total_flops() / self.batch / 1e12 if counter else 0.0

    def measure(self, device: torch.device, images: int) -> None:
        """Generate `images` pictures once and note time and peak memory."""
        reset_peak(device)
        synchronise(device)
        began = time.perf_counter()
        self.generate(images)
        synchronise(device)
        self.seconds.append((time.perf_counter() - began) / images)
        self.peak_gib = max(self.peak_gib, peak(device))


def requests(count: int, guides: tuple[str, ...], first: int = 0) -> list[Request]:
    """Return guided requests, the classes in turn."""
    names = FASHION_MNIST_CLASSES
    return [
        Request(
            key=f"k{n}",
            label=n % 10,
            class_name=names[n % 10],
            prompt=f"a photo of {names[n % 10]}",
            seed=n,
            strategy="benchmark",
            round=0,
            source=Source(split="train", index=n, key=f"train/{n}"),
            guides=guides,
        )
        for n in range(first, first + count)
    ]


def guide_image(request: Request) -> Image.Image:
    """Return noise of 32 pixels: what is on a guide does not change the cost."""
    rng = np.random.default_rng(request.seed)
    return Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))


def rows(
    adapter: PipelineAdapter, plainly: PipelineAdapter, classifier: Classifier, compiled: PipelineAdapter | None = None
) -> list[Row]:
    """Return every way of generating that is compared."""
    from benchmarks.one_at_a_time import OneAtATime

    bank = MemoryBank()
    stream = torch.Generator().manual_seed(0)
    for label in range(10):
        for _ in range(BANK):
            bank.add(label, torch.randn(adapter.latent_shape, generator=stream))
    found = []
    settings = {PLAIN: PRESETS["code"], SHORT: PRESETS["default"]}
    loops = {
        name: OneAtATime(plainly, always_near(sampling), bank, guide_image, classifier) for name, sampling in settings.items()
    }

    def one_by_one(loop: OneAtATime, guides: tuple[str, ...], count: int) -> None:
        loop.generate(requests(count, guides))

    def by_batch(sampler: ImageSampler, guides: tuple[str, ...], count: int) -> None:
        for _ in sampler.generate(requests(count, guides), SamplingContext(guide_image=guide_image, classifier=classifier)):
            pass

    for name, loop in loops.items():
        for losses, guides in LOSSES.items():
            found.append(Row(name, losses, 1, partial(one_by_one, loop, guides), []))
    for preset in ("code", "default", "fast"):
        sampling = always_near(PRESETS[preset])
        for losses, guides in {"attentive": LOSSES["attentive"]}.items() if preset == "fast" else LOSSES.items():
            for batch in BATCHES:
                sampler = ImageSampler(adapter, replace(sampling, batch_size=batch), bank)
                found.append(Row(preset, losses, batch, partial(by_batch, sampler, guides), []))
    if compiled is not None:
        for preset, losses in (("fast", "attentive"), ("default", "attentive"), ("default", "all")):
            sampler = ImageSampler(compiled, replace(always_near(PRESETS[preset]), batch_size=BATCHES[-1]), bank)
            found.append(Row(preset + COMPILED, losses, BATCHES[-1], partial(by_batch, sampler, LOSSES[losses]), []))
    return found


def always_near(sampling: SamplingConfig) -> SamplingConfig:
    """Return settings with a margin that every latent is within: random weights generate far away from any bank."""
    return replace(sampling, text=replace(sampling.text, margin=1e9))


def synchronise(device: torch.device) -> None:
    """Wait for a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reset_peak(device: torch.device) -> None:
    """Forget the largest use of memory so far: of the GPU, or of this process (Linux)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif (refs := Path("/proc/self/clear_refs")).exists():
        refs.write_text("5")


def peak(device: torch.device) -> float:
    """Return the largest use of memory since `reset_peak`, GiB."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device)) / 2**30
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 2**20


def matrix_rate(device: torch.device, dtype: torch.dtype, size: int) -> float:
    """Return the measured rate of square matrix products, TFLOP/s."""
    a = torch.randn(size, size, device=device, dtype=dtype)
    best = 0.0
    for _ in range(5):
        synchronise(device)
        began = time.perf_counter()
        a @ a
        synchronise(device)
        best = max(best, 2 * size**3 / (time.perf_counter() - began) / 1e12)
    return best


def measure(
    adapter: PipelineAdapter,
    plainly: PipelineAdapter,
    classifier: Classifier,
    repeats: int,
    images: int,
    compiled: PipelineAdapter | None = None,
) -> list[dict[str, Any]]:
    """Measure every row `repeats` times, in turn, and return them with their ratios."""
    device = adapter.device
    rate = matrix_rate(device, adapter.dtype, 2048 if device.type == "cpu" else 8192)
    found = rows(adapter, plainly, classifier, compiled)
    with frozen(classifier):
        for row in found:
            row.warm_up()
        for _ in range(repeats):
            for row in found:
                row.measure(device, images if row.batch > 1 else max(2, images // 8))
    plain = {row.losses: statistics.median(row.seconds) for row in found if row.preset == PLAIN}
    short = {row.losses: statistics.median(row.seconds) for row in found if row.preset == SHORT}
    work = {(row.preset, row.losses, row.batch): row.teraflop for row in found}
    facts = []
    for row in found:
        seconds, preset = statistics.median(row.seconds), row.preset.removesuffix(COMPILED)
        teraflop = work[preset, row.losses, row.batch]
        facts.append(
            {
                "preset": row.preset,
                "losses": row.losses,
                "batch": row.batch,
                "images_per_second": round(1 / seconds, 3),
                "ratio": round(plain[row.losses] / seconds, 2),
                "ratio_same_schedule": round(short[row.losses] / seconds, 2) if preset == "default" else None,
                "peak_gib": round(row.peak_gib, 2),
                "tflop_an_image": round(teraflop, 4),
                "share_of_matrix_rate": round(teraflop / seconds / rate, 3),
                "compile_seconds": round(max(0.0, row.first - seconds * row.batch), 1) if row.compiled else None,
                "seconds_an_image": [round(value, 4) for value in row.seconds],
            }
        )
    return facts


def table(facts: list[dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    columns = (
        "preset",
        "losses",
        "batch",
        "images/s",
        "x plain loop",
        "same schedule",
        "peak GiB",
        "TFLOP/image",
        "of matrix rate",
        "s to compile",
    )
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for row in facts:
        same = "" if row["ratio_same_schedule"] is None else f"{row['ratio_same_schedule']:.1f}"
        first = "" if row["compile_seconds"] is None else f"{row['compile_seconds']:.0f}"
        lines.append(
            f"| {row['preset']} | {row['losses']} | {row['batch']} | {row['images_per_second']:.2f} | "
            f"{row['ratio']:.1f} | {same} | {row['peak_gib']:.2f} | {row['tflop_an_image']:.4f} | "
            f"{row['share_of_matrix_rate']:.0%} | {first} |"
        )
    return "\n".join(lines)


def summary(facts: list[dict[str, Any]]) -> list[str]:
    """Return what was wanted beside what was measured at the largest batch."""
    rate = {(row["preset"], row["losses"], row["batch"]): row["images_per_second"] for row in facts}
    lines = []
    for ending in ("", COMPILED):
        for kind, preset in {"all": "default", "attentive": "default", "fast": "fast"}.items():
            losses = "attentive" if kind == "fast" else kind
            if found := rate.get((preset + ending, losses, BATCHES[-1])):
                times = f"{kind}{ending}: {found / rate[PLAIN, losses, 1]:.1f} times the plain loop"
                beside = f", {found / rate[PLAIN, 'all', 1]:.1f} the one with all losses" if kind == "fast" else ""
                lines.append(f"{times}{beside} (wanted on the CPU: {WANTED[kind]:g})")
    return lines


def open_backbones(given: argparse.Namespace) -> tuple[PipelineAdapter, PipelineAdapter, PipelineAdapter | None]:
    """Return the bundled generator or SD's size with random weights: as we load it, as it comes, and compiled."""
    loading, compiling = Loading(dtype=given.dtype), Loading(dtype=given.dtype, compile=True)
    dtype = loading.torch_dtype(given.device)
    if given.geometry is None:
        ours = PipelineAdapter.from_pretrained(str(bundled_generator()), device=given.device, loading=loading)
        stock = DiffusionPipeline.from_pretrained(str(bundled_generator()), dtype=dtype).to(given.device)
        stock.set_progress_bar_config(disable=True)
        return ours, PipelineAdapter(stock, "plain", ours.weights_hash), twin(ours, compiling) if given.compile else None
    from benchmarks import sd_geometry

    build = getattr(sd_geometry, given.geometry)
    ours = PipelineAdapter(build(given.device, dtype), given.geometry, "random weights", loading)
    ours.unet.to(memory_format=torch.channels_last)
    ours.vae.to(memory_format=torch.channels_last)
    plainly = PipelineAdapter(build(given.device, dtype), given.geometry, "random weights")
    return ours, plainly, twin(ours, compiling) if given.compile else None


def twin(adapter: PipelineAdapter, loading: Loading) -> PipelineAdapter:
    """Return another face of the same pipeline."""
    return PipelineAdapter(adapter.pipeline, adapter.name, adapter.weights_hash, loading)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--geometry", choices=("sd15", "sd21"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--images", type=int, default=16, help="pictures a measurement; the slow rows generate an eighth")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    adapter, plainly, compiled = open_backbones(given)
    name = "actgen/small-cnn" if given.geometry is None else "resnet50"
    classifier = create_classifier(name, 10, data_size=adapter.image_size).to(adapter.device)
    facts = measure(adapter, plainly, classifier, given.repeats, given.images, compiled)
    print(table(facts))
    print("\n".join(summary(facts)))
    if given.json:
        found = {"device": str(adapter.device), "dtype": str(adapter.dtype), "rows": facts}
        given.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
