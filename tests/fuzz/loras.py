"""LoRA files in every naming with parts of them wrong or missing, damaged files, and checkpoints in one file."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from .case import Case
from .damage import damaged

FILES, DAMAGED, SINGLE = 60, 40, 20
_PATHS = (
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k",
    "mid_block.attentions.0.proj_in",
    "no.such.layer",
)
_PREFIXES = ("unet.", "lora_unet_", "text_encoder.", "lora_te_", "lora_te2_", "base_model.model.", "")
_ENDS = (
    (".lora_A.weight", ".lora_B.weight"),
    (".lora.down.weight", ".lora.up.weight"),
    (".lora_down.weight", ".lora_up.weight"),
)
_MORE = (".alpha", ".dora_scale", ".hada_w1_a", ".bias", ".diff")


def _tensors(rng: random.Random) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for _ in range(rng.randint(0, 4)):
        prefix, path, ends = rng.choice(_PREFIXES), rng.choice(_PATHS), rng.choice(_ENDS)
        stem = prefix + (path.replace(".", "_") if prefix.startswith("lora_") else path)
        for end in ends if rng.random() < 0.8 else ends[:1]:
            tensors[stem + end] = torch.zeros(*(rng.choice((1, 2, 64)) for _ in range(rng.choice((1, 2, 2, 2, 4)))))
        if rng.random() < 0.4:
            tensors[stem + rng.choice(_MORE)] = torch.zeros(rng.choice(((), (1,), (64, 1))))
    return tensors


def _case(name: str, data: bytes, generator: Path, digits: Path, *, single: bool = False) -> Case:
    def build(folder: Path) -> list[str]:
        (folder / "file.safetensors").write_bytes(data)
        opened = folder / "file.safetensors" if single else generator
        setting = f"loading.config={generator}" if single else f"loading.lora={folder / 'file.safetensors'}"
        return ["data", str(digits), "--generator", str(opened), "--set", setting]

    return Case(name, build)


def cases(generator: Path, digits: Path) -> Iterator[Case]:
    """Yield LoRA files for a generator, and files in its place."""
    for seed in range(FILES):
        yield _case(f"lora {seed}", save(_tensors(random.Random(seed))), generator, digits)
    for seed in range(DAMAGED):
        data = save(_tensors(random.Random(seed)) | {"unet.x.lora_A.weight": torch.zeros(2, 2)})
        yield _case(f"lora damaged {seed}", damaged(data, seed), generator, digits)
    for seed in range(SINGLE):
        data = save({"model.diffusion_model.x": torch.zeros(2), "first_stage_model.y": torch.zeros(2)})
        yield _case(f"single file {seed}", damaged(data, seed) if seed else data, generator, digits, single=True)
