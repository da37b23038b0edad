"""How fast would guided generating at Stable Diffusion's size be on a GPU? Counted operation by operation, not measured.

    python benchmarks/roofline.py [--geometry sd15|sd21] [--json FILE]     on an H100, by its data sheet
    python benchmarks/roofline.py --check                                  the bundled pipeline on this CPU, measured, too

Every operation of the real path (`Opener.open`, `denoise`, the decode; the plain loop of `one_at_a_time.py`) runs on tensors of
the device "meta", which have shapes but no data, and is given the time

    max(launch, operations / rate, bytes read and written / bandwidth),

the rate being that of matrix products in its dtype. `launch` is what Python and the framework need to start an operation; a
device that is faster than that waits. It decides much and differs between hosts, so that forecasts are given for several.
Summed by kind of operation this is a profile, and the quotient of two sums forecasts a ratio. Views are free, and one operation
of the framework is one kernel. Nothing is known of kernels that reach less than the rates given, of caches, overlap and fusion;
attention is fused as in `memory.py`.

`--check` counts the bundled pipeline at this CPU's own measured rates and generates the same pictures for real: as far as the
count is from the truth there, so far should one mistrust it elsewhere.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from actgen.classifiers.classifier import Classifier, create_classifier
from actgen.core.frozen import frozen
from actgen.diffusion.denoising import denoise
from actgen.diffusion.guides.bank import MemoryBank
from actgen.diffusion.pipeline import PipelineAdapter
from actgen.generation.batching import Kind, Opener
from actgen.generation.presets import PRESETS, SamplingConfig
from actgen.generation.sampling_context import SamplingContext

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for the other files of this folder

from benchmarks.generation import BANK, LOSSES, PLAIN, always_near, guide_image, matrix_rate, open_backbones, requests
from benchmarks.memory import like_gpu
from benchmarks.one_at_a_time import OneAtATime
from benchmarks.sd_geometry import GEOMETRIES

ATTENTION = ("bmm", "baddbmm", "_softmax", "_softmax_backward_data")
SMALLEST = 4  # positions of a latent a side that the bundled UNet takes
KINDS = ("convolution", "linear", "attention, fused", "attention, written out", "other")
_cpu = Tensor.cpu


@dataclass(frozen=True)
class Machine:
    """What a device gives: operations a second in half precision and in float32, bytes a second, seconds a launch."""

    name: str
    half: float
    single: float
    bandwidth: float
    launch: float

    def seconds(self, work: Work) -> float:
        """Return the time of one operation."""
        return max(self.launch, work.operations / (self.half if work.half else self.single), work.bytes / self.bandwidth)


# 989 and 495 (TF32) TFLOP/s dense and 3.35 TB/s by the data sheet, of which good kernels reach some 60, 60 and 80%
H100 = Machine("H100 SXM", 600e12, 300e12, 2.7e12, 12e-6)
LAUNCHES = (
    0.0,
    6e-6,
    12e-6,
    24e-6,
)  # CUDA graphs; an operation alone; and with the Python of diffusers around it, on two hosts
HEAVIEST = 6  # operations of ATen that are named


@dataclass(frozen=True)
class Work:
    """One operation: its name in ATen, whether autograd called it, floating point operations, bytes moved, in half precision or
    not."""

    name: str
    backward: bool
    operations: int
    bytes: int
    half: bool

    @property
    def kind(self) -> str:
        """Which of `KINDS` it is; linear layers are mm and addmm, whatever their input."""
        if "scaled_dot_product" in self.name:
            return "attention, fused"
        if self.name in ATTENTION:
            return "attention, written out"
        if "convolution" in self.name:
            return "convolution"
        return "linear" if self.name in ("mm", "addmm") else "other"


@dataclass
class RejectionLog(TorchDispatchMode):
    """Counts the work on a kind of device."""

    device: str
    works: Counter[Work] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        name = func._overloadpacket.__name__
        touched = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, Tensor)]
        there = {id(leaf): leaf for leaf in touched if leaf.device.type == self.device}
        if not there or func.is_view or name.startswith(("empty", "detach", "_unsafe_view", "_reshape_alias")):
            return out
        count = flop_registry.get(func._overloadpacket)
        operations = int(count(*args, **kwargs, out_val=out)) if count else 0
        moved = sum(leaf.numel() * leaf.element_size() for leaf in there.values())
        half = any(leaf.dtype in (torch.float16, torch.bfloat16) for leaf in there.values())
        backward = torch._C._current_autograd_node() is not None
        self.works[Work(name, backward, operations, moved, half)] += 1
        return out


@dataclass
class Way:
    """One way of generating `batch` pictures: `generate` does it."""

    preset: str
    losses: str
    batch: int
    generate: Callable[[], object]
    works: Counter[Work] = field(default_factory=Counter)

    def count(self, device: str) -> None:
        """Generate once and keep the work."""
        rejections = RejectionLog(device)
        with ExitStack() as stack:
            if device == "meta":
                stack.enter_context(like_gpu())
                stack.enter_context(patch.object(Tensor, "cpu", _zeros))
            stack.enter_context(rejections)
            self.generate()
        self.works = rejections.works

    def seconds(self, machine: Machine) -> float:
        """Return the forecast for an image."""
        return self.sum(machine.seconds)

    def sum(self, value: Callable[[Work], float]) -> float:
        """Return the sum of a value over all operations, for an image."""
        return sum(value(work) * times for work, times in self.works.items()) / self.batch


def _zeros(tensor: Tensor) -> Tensor:
    return torch.zeros(tensor.shape, dtype=tensor.dtype) if tensor.is_meta else _cpu(tensor)


def ways(adapter: PipelineAdapter, plainly: PipelineAdapter, classifier: Classifier, batches: Sequence[int]) -> list[Way]:
    """Return the plain loop with every set of losses, then the presets as `generation.py` has them."""
    bank = MemoryBank()
    for label in range(10):
        for _ in range(BANK):
            bank.add(label, torch.randn(adapter.latent_shape))
    loop = OneAtATime(plainly, always_near(PRESETS["code"]), bank, guide_image, classifier)
    found = [Way(PLAIN, losses, 1, partial(loop.generate, requests(1, LOSSES[losses]))) for losses in ("attentive", "all")]
    for preset, losses in (("code", "all"), ("default", "attentive"), ("default", "all"), ("fast", "attentive")):
        sampling = always_near(PRESETS[preset])
        for batch in batches:
            sampler = partial(generate, adapter, sampling, bank, classifier, LOSSES[losses], batch)
            found.append(Way(preset, losses, batch, sampler))
    return found


def generate(
    adapter: PipelineAdapter,
    sampling: SamplingConfig,
    bank: MemoryBank,
    classifier: Classifier,
    guides: tuple[str, ...],
    batch: int,
) -> Tensor:
    """Generate as `ImageSampler` does, but for looking at the result: pixels [B, 3, S, S]."""
    opener = Opener(adapter, sampling, bank, SamplingContext(guide_image=guide_image, classifier=classifier))
    with adapter.borrowed():
        opened = opener.open(requests(batch, guides), Kind(guides, 1.0))
        for step in denoise(
            adapter,
            opened.solver,
            opened.batch,
            classifier_free_guidance=sampling.classifier_free_guidance,
            guides=opened.guides,
            attention_resolution=opened.attention_resolution,
        ):
            latents = step.next_latents
        with torch.no_grad():
            return torch.cat([adapter.decode(some) for some in latents.split(opener.together)])


def facts(found: Sequence[Way], machine: Machine) -> list[dict[str, Any]]:
    """Return a row a way: images a second, its work, the ratio to the plain loop for every launch, and the profile."""
    plain = {way.losses: way for way in found if way.preset == PLAIN}
    rows = []
    for way in found:
        seconds, beside = way.seconds(machine), plain[way.losses]
        ratios = {}
        for launch in LAUNCHES:
            host = replace(machine, launch=launch)
            ratios[f"{launch * 1e6:g} us"] = round(beside.seconds(host) / way.seconds(host), 2)
        waiting = way.sum(lambda work: machine.launch if machine.seconds(work) == machine.launch else 0.0)
        rows.append(
            {
                "preset": way.preset,
                "losses": way.losses,
                "batch": way.batch,
                "images_per_second": round(1 / seconds, 4),
                "ratios": ratios,
                "operations": round(way.sum(lambda _: 1.0)),
                "waiting": round(waiting / seconds, 3),
                "tflop_an_image": round(way.sum(lambda work: work.operations) / 1e12, 3),
                "gb_an_image": round(way.sum(lambda work: work.bytes) / 1e9, 2),
                "profile": profile(way, machine),
                "heaviest": heaviest(way, machine),
            }
        )
    return rows


def profile(way: Way, machine: Machine) -> dict[str, float]:
    """Return the share of the time of each kind of operation, forwards and backwards."""
    spent = shares(way, machine, lambda work: f"{work.kind}, backwards" if work.backward else work.kind)
    return {name: round(spent.get(name, 0.0), 3) for name in (*KINDS, *(f"{kind}, backwards" for kind in KINDS))}


def heaviest(way: Way, machine: Machine) -> dict[str, float]:
    """Return the operations of ATen that take most of the time, with their shares."""
    spent = shares(way, machine, lambda work: work.name)
    return {name: round(spent[name], 3) for name in sorted(spent, key=lambda name: -spent[name])[:HEAVIEST]}


def shares(way: Way, machine: Machine, key: Callable[[Work], str]) -> dict[str, float]:
    """Return the share of the time of the operations of every key."""
    spent: dict[str, float] = {}
    for work, times in way.works.items():
        spent[key(work)] = spent.get(key(work), 0.0) + machine.seconds(work) * times
    return {name: seconds / sum(spent.values()) for name, seconds in spent.items()}


def tables(rows: Sequence[dict[str, Any]]) -> str:
    """Return forecasts, profiles and the heaviest operations as three Markdown tables."""
    ways = [f"| {row['preset']} | {row['losses']} | {row['batch']} |" for row in rows]
    first = "| preset | losses | batch |"
    heads = (
        "images/s",
        *(f"x plain, {launch}" for launch in rows[0]["ratios"]),
        "operations/image",
        "waiting for them",
        "TFLOP/image",
        "GB/image",
    )
    lines = [f"{first} {' | '.join(heads)} |", "|---" * (3 + len(heads)) + "|"]
    for way, row in zip(ways, rows, strict=True):
        cells = (
            row["images_per_second"],
            *row["ratios"].values(),
            f"{row['operations']:,}",
            f"{row['waiting']:.0%}",
            row["tflop_an_image"],
            row["gb_an_image"],
        )
        lines.append(f"{way} {' | '.join(map(str, cells))} |")
    kinds = [name for name in rows[0]["profile"] if any(row["profile"][name] for row in rows)]
    lines += ["", f"{first} {' | '.join(kinds)} |", "|---" * (3 + len(kinds)) + "|"]
    for way, row in zip(ways, rows, strict=True):
        parts = [f"{row['profile'][name]:.0%}" for name in kinds]
        lines.append(f"{way} {' | '.join(parts)} |")
    lines += ["", f"{first} heaviest operations |", "|---" * 4 + "|"]
    for way, row in zip(ways, rows, strict=True):
        heavy = ", ".join(f"{name} {share:.0%}" for name, share in row["heaviest"].items())
        lines.append(f"{way} {heavy} |")
    return "\n".join(lines)


def on_paper(geometry: str, batches: Sequence[int] = (1, 16)) -> list[Way]:
    """Return the ways at Stable Diffusion's size, counted in float16 on "meta"."""
    ours, plainly = (PipelineAdapter(GEOMETRIES[geometry]("meta", torch.float16), geometry, "random weights") for _ in range(2))
    for network in (ours.unet, ours.vae):
        network.to(memory_format=torch.channels_last)
    classifier = create_classifier("resnet50", 10, data_size=512, image_size=224).to("meta")
    found = ways(ours, plainly, classifier, batches)
    with frozen(classifier):
        for way in found:
            way.count("meta")
    return found


def this_cpu(adapter: PipelineAdapter, size: int = 2048, large: int = 1 << 26) -> Machine:
    """Return the measured rates of this CPU: matrix products, copies of 256 MiB, and the operations of a UNet call.

    That is a call on a latent so small that starting its operations is most of the work.
    """
    rate = matrix_rate(torch.device("cpu"), torch.float32, size) * 1e12
    source, target = torch.rand(large), torch.empty(large)
    copies = [timed(lambda: target.copy_(source)) for _ in range(5)]
    told, x = adapter.encode_text(["a"]), torch.zeros(1, adapter.latent_shape[0], SMALLEST, SMALLEST)
    call = partial(adapter.predict, x, torch.tensor(1), told, 1.0)
    with torch.no_grad(), adapter.borrowed():
        with RejectionLog("cpu") as rejections:
            call()
        calls = [timed(call) for _ in range(20)]
    return Machine("this CPU", rate, rate, 2 * 4 * large / min(copies), min(calls) / sum(rejections.works.values()))


def timed(work: Callable[[], object]) -> float:
    """Return the seconds of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def check(repeats: int = 3) -> str:
    """Return forecast and measured ratios of the bundled pipeline on this CPU as a Markdown table."""
    given = argparse.Namespace(geometry=None, device="cpu", dtype="auto", compile=False)
    ours, plainly, _ = open_backbones(given)
    classifier = create_classifier("actgen/small-cnn", 10, data_size=ours.image_size)
    machine = this_cpu(plainly)
    with frozen(classifier):
        found = ways(ours, plainly, classifier, (1, 16))
        for way in found:
            way.count("cpu")
        seconds = [
            statistics.median(column)
            for column in zip(*([timed(way.generate) / way.batch for way in found] for _ in range(repeats)), strict=True)
        ]
    lines = [
        f"{machine.half / 1e9:.0f} GFLOP/s, {machine.bandwidth / 1e9:.1f} GB/s, {machine.launch * 1e6:.1f} us a launch",
        "",
        "| preset | losses | batch | seconds, counted | measured | x plain loop, counted | measured |",
        "|---" * 7 + "|",
    ]
    plain = {
        way.losses: (way.seconds(machine), measured)
        for way, measured in zip(found, seconds, strict=True)
        if way.preset == PLAIN
    }
    for way, measured in zip(found, seconds, strict=True):
        counted = way.seconds(machine)
        beside = plain[way.losses]
        lines.append(
            f"| {way.preset} | {way.losses} | {way.batch} | {counted:.4f} | {measured:.4f} | "
            f"{beside[0] / counted:.1f} | {beside[1] / measured:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Parse, count, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--geometry", choices=list(GEOMETRIES), default="sd21")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    if given.check:
        print(check())
        return
    rows = facts(on_paper(given.geometry), H100)
    print(f"{given.geometry}, float16, {H100}\n\n{tables(rows)}")
    if given.json:
        given.json.write_text(json.dumps({"machine": H100.name, "geometry": given.geometry, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
