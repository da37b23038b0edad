"""How much memory does generating with all guides need, and does it stay within the project's limits?

    python benchmarks/memory.py [--geometry sd15|sd21] [--json FILE] [--check]

Limits: 12 GiB for one image, 24 GiB for four at once, in float16 at 512 pixels. The path is the real one: `Opener.open`,
two steps of `denoise` (the second has what the first left behind), the last decode; preset `default` with both halves of
classifier-free guidance in these steps, the image guide recording maps, a bank of 256 latents, a timm ResNet-50 at 224
pixels in float32 as the opponent. Networks have the published
geometry and random weights (`sd_geometry.py`) and lie in memory as `Backbone.from_pretrained` leaves them.

Without a GPU the memory is *counted*: tensors of the device "meta" have shapes and lifetimes but no data, autograd works on
them as ever, and `Counter` adds up the storages alive after every operation, rounded to 512 bytes as CUDA's allocator does.
(torch's own `MemTracker` refuses: it hooks gradients of frozen parameters and wants each network called once.) Fused
attention is modelled: `fused_attention` calls flash attention, or memory-efficient attention in float32 and for heads over
256 channels (the VAE's 512), by name, for on "meta" torch would choose the plain form and write the matrix out. The image
guide hears its layers by one more such attention. Not counted: what an operation allocates and frees inside (work
space of cuDNN and of attention, conversions of layout), fragmentation, the CUDA context (about 0.5 GiB), and the training
state of the classifier beside its weights.

With a GPU `torch.cuda.max_memory_allocated` is reported for the same rows instead; that path has not been run.

`--check` compares the counter with torch's profiler of the CPU allocator and with the saved tensors of the graph, on the tiny
pipeline of the tests, in float32.
"""

from __future__ import annotations

import argparse
import json
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from diffusers.models.attention_processor import AttnProcessor
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import handle_torch_function
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from actgen.classifiers.classifier import Classifier, create_classifier
from actgen.core.class_words import class_prompt
from actgen.core.types import Request
from actgen.diffusion.denoising import denoise
from actgen.diffusion.guides.bank import MemoryBank
from actgen.diffusion.loading import Loading
from actgen.diffusion.pipeline import PipelineAdapter
from actgen.generation.batching import Kind, Opener
from actgen.generation.presets import PRESETS, SamplingConfig
from actgen.generation.sampling_context import SamplingContext

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.sd_geometry import CLASSES, GEOMETRIES

GIB = 2**30
LIMITS = {1: 12.0, 4: 24.0}
BATCHES = (1, 4, 16)
BANK = 256
STEPS = 2
BLOCK = 512
LARGEST_FLASH_HEAD = 256
_chosen_attention, _tolist, _bool = F.scaled_dot_product_attention, Tensor.tolist, Tensor.__bool__
ALL = ("image", "contrastive", "adversarial")


DEFAULT = replace(PRESETS["default"], guidance_start=0.0)  # both halves in the steps that are counted


@dataclass(frozen=True)
class Case:
    """One way to generate. `materialised`: attention written out in all layers of the UNet, as the released code has it."""

    name: str
    guides: tuple[str, ...] = ALL
    sampling: SamplingConfig = DEFAULT
    loading: Loading = field(default_factory=Loading)
    materialised: bool = False


HALF = replace(DEFAULT, text=replace(DEFAULT.text, decoder="half"))
CHECKPOINTING = Loading(gradient_checkpointing=True)
CASES = (
    Case("plain"),
    Case("gradient checkpointing", loading=CHECKPOINTING),
    Case('decoder = "half"', sampling=HALF),
    Case("checkpointing and half", sampling=HALF, loading=CHECKPOINTING),
    Case("vae_slicing", loading=Loading(vae_slicing=True)),
    Case("attentive only", guides=("image",)),
    Case("text only", guides=()),
    Case("released code's structure", sampling=PRESETS["code"], materialised=True),
)


class Counter(TorchDispatchMode):
    """Counts the bytes of all storages on `device` that are alive: `now`, and at most so far: `peak`."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.device, self.now, self.peak = device, 0, 0
        self._alive: dict[int, weakref.ref[Any]] = {}

    def add(self, tensor: Tensor) -> None:
        """Count the storage of a tensor until it dies."""
        storage = tensor.untyped_storage()
        if storage.device.type != self.device.type or id(storage) in self._alive:
            return
        size = -(-storage.nbytes() // BLOCK) * BLOCK
        self._alive[id(storage)] = weakref.ref(storage, partial(self._died, id(storage), size))
        self.now += size
        self.peak = max(self.peak, self.now)

    def _died(self, key: int, size: int, _: object) -> None:
        del self._alive[key]
        self.now -= size

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self.add(leaf)
        return out


def fused_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """`F.scaled_dot_product_attention` as a GPU takes it in half precision: by the kernels that do not write the matrix out."""
    told: dict[str, Any] = {"attn_mask": attn_mask, "dropout_p": dropout_p, "is_causal": is_causal, "scale": scale}
    if torch._C._is_torch_function_mode_enabled():  # who listens (`diffusion/hearing.py`) hears it as torch's own
        heard: Tensor = handle_torch_function(fused_attention, (query, key, value), query, key, value, **told)
        return heard
    if attn_mask is not None or enable_gqa:
        return _chosen_attention(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)
    if query.dtype != torch.float32 and query.shape[-1] <= LARGEST_FLASH_HEAD:
        out = torch.ops.aten._scaled_dot_product_flash_attention(query, key, value, dropout_p, is_causal, False, scale=scale)
    else:
        graph = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (query, key, value))
        out = torch.ops.aten._scaled_dot_product_efficient_attention(
            query, key, value, None, graph, dropout_p, is_causal, scale=scale
        )
    mixed: Tensor = out[0]
    return mixed


@contextmanager
def like_gpu() -> Iterator[None]:
    """On "meta": attention is fused, and labels, which the code reads but "meta" does not hold, are all 0 as in `request`."""
    with patch.object(F, "scaled_dot_product_attention", fused_attention):
        with (
            patch.object(Tensor, "__bool__", lambda tensor: True if tensor.is_meta else _bool(tensor)),
            patch.object(Tensor, "tolist", lambda tensor: [0] * tensor.numel() if tensor.is_meta else _tolist(tensor)),
        ):
            yield


class Gauge:
    """Peak memory of a device: counted on "meta", measured on "cuda"."""

    def __init__(self, device: torch.device, networks: Sequence[nn.Module]) -> None:
        self.device = device
        self.counter = Counter(device)
        for network in networks:
            for tensor in (*network.parameters(), *network.buffers()):
                self.counter.add(tensor)
        self.weights = self.counter.now

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch what is allocated inside."""
        with ExitStack() as stack:
            if self.device.type != "cuda":
                stack.enter_context(self.counter)
            if self.device.type == "meta":
                stack.enter_context(like_gpu())
            yield

    def take(self) -> int:
        """Return the peak in bytes since the last call."""
        if self.device.type == "cuda":
            peak = torch.cuda.max_memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            return int(peak)
        peak, self.counter.peak = self.counter.peak, self.counter.now
        return peak


def request(number: int) -> Request:
    """Return a request for a picture of the first class with all guides."""
    name = CLASSES[0]
    return Request(
        key=f"image-{number}",
        label=0,
        class_name=name,
        prompt=class_prompt(name),
        seed=number,
        strategy="memory",
        round=0,
        guides=ALL,
    )


def filled_bank(shape: tuple[int, int, int]) -> MemoryBank:
    """Return a bank with `BANK` latents of the first class."""
    bank = MemoryBank(BANK)
    for _ in range(BANK):
        bank.add(0, torch.zeros(shape))
    return bank


@contextmanager
def written_out(unet: Any) -> Iterator[None]:
    """Write the attention of all layers out inside."""
    before = dict(unet.attn_processors)
    try:
        unet.set_attn_processor(AttnProcessor())
        yield
    finally:
        unet.set_attn_processor(before)


def peaks(pipeline: Any, classifier: Classifier, case: Case, batch: int) -> dict[str, int]:
    """Return bytes: `weights` of all networks, and the peaks of opening, stepping and the last decode."""
    adapter = PipelineAdapter(pipeline, "memory", "random", case.loading)
    gauge = Gauge(adapter.device, [*adapter.networks, classifier])
    picture = Image.new("RGB", (adapter.image_size,) * 2)
    opener = Opener(
        adapter,
        case.sampling,
        filled_bank(adapter.latent_shape),
        SamplingContext(guide_image=lambda _: picture, classifier=classifier),
    )
    found = {"weights": gauge.weights}
    with ExitStack() as stack:
        if case.materialised:
            stack.enter_context(written_out(adapter.unet))
        stack.enter_context(gauge.watching())  # first, to see the VAE cast to float32
        stack.enter_context(adapter.borrowed())
        gauge.take()
        opened = opener.open([request(number) for number in range(batch)], Kind(case.guides, 1.0))
        found["open"] = gauge.take()
        for step in denoise(
            adapter,
            opened.solver,
            opened.batch,
            classifier_free_guidance=case.sampling.classifier_free_guidance,
            guides=opened.guides,
            attention_resolution=opened.attention_resolution,
        ):
            latents = step.next_latents
            if step.index + 1 == STEPS:
                break
        found["steps"] = gauge.take()
        with torch.no_grad():
            torch.cat([adapter.decode(some) for some in latents.split(opener.together)])
        found["decode"] = gauge.take()
    return found


def row(case: Case, batch: int, found: dict[str, int]) -> dict[str, Any]:
    """Return one line of the table, in GiB."""
    limit, peak = LIMITS.get(batch), max(found.values())
    return {
        "case": case.name,
        "batch": batch,
        **{name: round(size / GIB, 2) for name, size in found.items()},
        "peak": round(peak / GIB, 2),
        "limit": limit,
        "fits": None if limit is None else peak <= limit * GIB,
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows as a Markdown table."""
    heads = ("case", "batch", "weights", "open", "steps", "decode", "peak", "limit", "fits")
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for line in rows:
        cells = {**line, "limit": line["limit"] or "", "fits": {None: "", True: "yes", False: "NO"}[line["fits"]]}
        lines.append("| " + " | ".join(str(cells[head]) for head in heads) + " |")
    return "\n".join(lines)


def measure(geometry: str, batches: Sequence[int] = BATCHES, cases: Sequence[Case] = CASES) -> list[dict[str, Any]]:
    """Return a row for every case and batch."""
    device = "cuda" if torch.cuda.is_available() else "meta"
    pipeline = GEOMETRIES[geometry](device, torch.float16)
    for network in (pipeline.unet, pipeline.vae):
        network.to(memory_format=torch.channels_last)
    classifier = create_classifier("resnet50", len(CLASSES), data_size=224, image_size=224).to(device)
    classifier.eval().requires_grad_(False)
    return [row(case, batch, peaks(pipeline, classifier, case, batch)) for case in cases for batch in batches]


def allocated(work: Callable[[], object]) -> int:
    """Return the peak of the CPU allocator's bytes inside `work`, over those before, as torch's profiler saw them."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        work()
    now = peak = 0
    for event in sorted(seen.profiler.kineto_results.events(), key=lambda event: int(event.start_ns())):
        if event.name() == "[memory]":
            now += int(event.nbytes())
            peak = max(peak, now)
    return peak


def check() -> dict[str, float]:
    """Return MiB by the counter and by two other ways, on `tests/support/families.py`'s SD 1 in float32 on the CPU."""
    from tests.support.families import build_sd1

    adapter = PipelineAdapter(build_sd1(), "memory", "random")
    conditions = adapter.encode_text([class_prompt(CLASSES[0])] * 2)
    latents, when = torch.zeros(2, *adapter.latent_shape), torch.tensor(500)

    def forward() -> Tensor:
        text = conditions.text_2BLD.clone().requires_grad_()
        x0 = adapter.predict(latents, when, replace(conditions, text_2BLD=text), 7.5, graph=2)
        return adapter.decode(x0)

    def there_and_back() -> None:
        forward().sum().backward()

    with adapter.borrowed():
        there_and_back()
        gauge = Gauge(torch.device("cpu"), adapter.networks)
        own = {id(tensor.untyped_storage()) for network in adapter.networks for tensor in network.parameters()}
        saved: dict[int, Any] = {}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if id(storage) not in own:
                saved[id(storage)] = storage
            return tensor

        with gauge.watching():
            there_and_back()
        with gauge.watching():
            before = gauge.counter.now
            pictures = forward()
            graph = gauge.counter.now - before
        del pictures
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            forward()
        found = {
            "peak counted": gauge.counter.peak - gauge.weights,
            "peak of the allocator": allocated(there_and_back),
            "graph counted": graph,
            "saved tensors": sum(storage.nbytes() for storage in saved.values()),
        }
    return {name: round(size / 2**20, 2) for name, size in found.items()}


def main() -> None:
    """Parse, count or measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--geometry", choices=list(GEOMETRIES), default="sd21")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    if given.check:
        print(json.dumps(check(), indent=1))
        return
    rows = measure(given.geometry)
    how = "measured on " + torch.cuda.get_device_name() if torch.cuda.is_available() else "counted"
    print(f"GiB, {given.geometry}, float16, {how}\n\n{table(rows)}")
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
