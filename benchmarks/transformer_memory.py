"""How much memory do the networks of transformer families need, and the graph of a gradient to the text through them?

    python benchmarks/transformer_memory.py [FAMILY ...] [--json FILE]

Counted, not measured: tensors of the device "meta" have shapes and lifetimes but no data, and `Counter` (`memory.py`) adds up
the storages alive. Networks have the geometry of the published checkpoints as far as it is known here, so the count of
parameters is printed beside; bfloat16, one image, one branch, texts of the family's full length, fused attention. `graph` is
what the forward pass leaves for the backward pass, alone and with gradient checkpointing; `forward` the most that is alive
without a gradient, weights apart. Text encoders and autoencoder are not in it, nor work space of kernels. Z-Image and
Lumina 2 are left out: their code reads lengths out of masks, which tensors without data do not hold.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import diffusers
import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.memory import GIB, Counter, fused_attention

SIZES = (512, 1024)
META, TYPE = torch.device("meta"), torch.bfloat16
Inputs = Callable[[int, Tensor], dict[str, Any]]


@dataclass(frozen=True)
class Geometry:
    """A network of diffusers, the rows and width of its text, and what it is called with at a size in pixels."""

    network: str
    config: dict[str, Any]
    length: int
    width: int
    inputs: Inputs


def of(*shape: int) -> Tensor:
    """Return a tensor without data."""
    return torch.empty(shape, device=META, dtype=TYPE)


def timestep() -> Tensor:
    """Return the time of one image."""
    return of(1)


def square(channels: int, factor: int, **more: Any) -> Inputs:
    """Return inputs whose latents are [1, C, h, w]."""
    return lambda pixels, text: {
        "hidden_states": of(1, channels, pixels // factor, pixels // factor),
        "encoder_hidden_states": text,
        "timestep": timestep(),
        **{name: make(pixels, text) if callable(make) else make for name, make in more.items()},
    }


def packed(channels: int, **more: Any) -> Inputs:
    """Return inputs whose latents are [1, N, C], with a row for 16 x 16 pixels."""
    return lambda pixels, text: {
        "hidden_states": of(1, (pixels // 16) ** 2, channels),
        "encoder_hidden_states": text,
        "timestep": timestep(),
        **{name: make(pixels, text) if callable(make) else make for name, make in more.items()},
    }


def ids(axes: int) -> dict[str, Any]:
    """Return the position ids of image and text."""
    return {"img_ids": lambda pixels, _: of((pixels // 16) ** 2, axes), "txt_ids": lambda _, text: of(text.shape[1], axes)}


def all_read(_: int, text: Tensor) -> Tensor:
    """Return a mask that hides no row of the text."""
    return torch.ones(text.shape[:2], device=META, dtype=torch.bool)


GEOMETRIES: dict[str, Geometry] = {
    "PixArt-Sigma": Geometry(
        "PixArtTransformer2DModel",
        {"caption_channels": 4096, "interpolation_scale": 2, "use_additional_conditions": False},
        300,
        4096,
        square(4, 8, added_cond_kwargs={"resolution": None, "aspect_ratio": None}),
    ),
    "Sana 1.6B": Geometry("SanaTransformer2DModel", {}, 300, 2304, square(32, 32)),
    "SD3.5-M": Geometry(
        "SD3Transformer2DModel",
        {
            "num_layers": 24,
            "num_attention_heads": 24,
            "caption_projection_dim": 1536,
            "pos_embed_max_size": 384,
            "qk_norm": "rms_norm",
            "dual_attention_layers": tuple(range(13)),
        },
        333,
        4096,
        square(16, 8, pooled_projections=lambda *_: of(1, 2048)),
    ),
    "SD3.5-L": Geometry(
        "SD3Transformer2DModel",
        {
            "num_layers": 38,
            "num_attention_heads": 38,
            "caption_projection_dim": 2432,
            "pos_embed_max_size": 192,
            "qk_norm": "rms_norm",
        },
        333,
        4096,
        square(16, 8, pooled_projections=lambda *_: of(1, 2048)),
    ),
    "Flux2-klein 4B": Geometry(
        "Flux2Transformer2DModel",
        {
            "num_layers": 5,
            "num_single_layers": 20,
            "num_attention_heads": 24,
            "joint_attention_dim": 7680,
            "guidance_embeds": False,
        },
        512,
        7680,
        packed(128, **ids(4)),
    ),
    "Flux": Geometry(
        "FluxTransformer2DModel",
        {"guidance_embeds": True},
        512,
        4096,
        packed(64, **ids(3), pooled_projections=lambda *_: of(1, 768), guidance=lambda *_: of(1)),
    ),
    "Chroma": Geometry("ChromaTransformer2DModel", {}, 512, 4096, packed(64, **ids(3))),
    "Qwen-Image": Geometry(
        "QwenImageTransformer2DModel",
        {},
        256,
        3584,
        packed(64, img_shapes=lambda pixels, _: [[(1, pixels // 16, pixels // 16)]]),
    ),
    "AuraFlow": Geometry("AuraFlowTransformer2DModel", {"pos_embed_max_size": 9216}, 256, 2048, square(4, 8)),
    "CogView4": Geometry(
        "CogView4Transformer2DModel",
        {"num_layers": 28, "num_attention_heads": 32, "attention_head_dim": 128},
        224,
        4096,
        square(
            16,
            8,
            original_size=lambda pixels, _: of(1, 2),
            target_size=lambda pixels, _: of(1, 2),
            crop_coords=lambda pixels, _: of(1, 2),
        ),
    ),
}


@dataclass(frozen=True)
class Row:
    """What one family needs at a size, GiB; parameters in billions."""

    family: str
    pixels: int
    parameters: float
    weights: float
    forward: float
    graph: float
    graph_checkpointing: float


def build(geometry: Geometry) -> Any:
    """Return the network without data, frozen."""
    with torch.device(META):
        network = getattr(diffusers, geometry.network)(**geometry.config)
    return network.to(dtype=TYPE).requires_grad_(False)


def attention_fused() -> AbstractContextManager[object]:
    """Take the kernels that do not write the matrix out."""
    return patch.object(F, "scaled_dot_product_attention", fused_attention)


def graph(network: Any, geometry: Geometry, pixels: int, *, gradient: bool) -> tuple[int, int]:
    """Return bytes that a forward pass leaves behind, and the most that were alive in it."""
    text = of(1, geometry.length, geometry.width).requires_grad_(gradient)
    inputs = geometry.inputs(pixels, text)
    with attention_fused(), Counter(META) as counter, torch.set_grad_enabled(gradient):
        for tensor in (*network.parameters(), *network.buffers()):
            counter.add(tensor)
        weights = counter.now
        out = network(**inputs, return_dict=False)
        left = counter.now
    del out
    return left - weights, counter.peak - weights


def count(family: str, pixels: int) -> Row:
    """Return the row of one family at one size."""
    geometry = GEOMETRIES[family]
    network = build(geometry)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    forward = graph(network, geometry, pixels, gradient=False)[1]
    plain = graph(network, geometry, pixels, gradient=True)[0]
    network.enable_gradient_checkpointing()
    checkpointed = graph(network, geometry, pixels, gradient=True)[0]
    sizes = (round(size / GIB, 2) for size in (size_of(network), forward, plain, checkpointed))
    return Row(family, pixels, round(parameters / 1e9, 2), *sizes)


def size_of(network: nn.Module) -> int:
    """Return the bytes of the weights."""
    return sum(parameter.numel() * parameter.element_size() for parameter in network.parameters())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", default=list(GEOMETRIES), metavar="FAMILY")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print("| family | pixels | parameters, 10^9 | weights | forward | graph | graph, checkpointing |")
    print("|---|---|---|---|---|---|---|")
    rows = []
    for family in options.families:
        for pixels in SIZES:
            rows.append(count(family, pixels))
            print("| " + " | ".join(str(value) for value in asdict(rows[-1]).values()) + " |", flush=True)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
