"""The bundled generator, damaged in ways whose effect is known."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer

from actgen.core.assets import bundled_generator

UNET, TEXT = "unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"
SWAPPED = (("trouser", "bag"), ("pullover", "sandal"), ("dress", "sneaker"))
"""Classes of one token each, so that exchanging two of these generates one class as the other, no worse than before."""


def copied(folder: Path) -> Path:
    shutil.copytree(bundled_generator(), folder)
    return folder


def noised(folder: Path, strength: float) -> Path:
    """Noise in all weights of the UNet, of `strength` times the spread of each tensor."""
    path, rng = copied(folder) / UNET, torch.Generator().manual_seed(0)
    weights = load_file(path)
    for name, value in sorted(weights.items()):
        if value.numel() > 1:
            spread = strength * float(value.float().std())
            weights[name] = (value.float() + spread * torch.randn(value.shape, generator=rng)).to(value.dtype)
    save_file(weights, path, metadata={"format": "pt"})
    return folder


def shuffled(folder: Path) -> Path:
    """The text embeddings of six classes exchanged in pairs."""
    path, tokenizer = copied(folder) / TEXT, CLIPTokenizer.from_pretrained(folder / "tokenizer")
    weights = load_file(path)
    (name,) = (name for name in weights if name.endswith("token_embedding.weight"))
    rows = weights[name].clone()
    for pair in SWAPPED:
        one, other = (_token(tokenizer, word) for word in pair)
        rows[[one, other]] = rows[[other, one]]
    save_file({**weights, name: rows}, path, metadata={"format": "pt"})
    return folder


def _token(tokenizer: CLIPTokenizer, word: str) -> int:
    (token,) = tokenizer(word, add_special_tokens=False).input_ids
    return int(token)
