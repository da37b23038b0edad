"""Which weights drew an image: a hash of a pipeline's folder, or of its networks' tensors where there is no folder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn


def hash_folder(folder: Path) -> str:
    """Return sha256 over the names and contents of a pipeline's weights and configurations, sorted; cards do not count."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if _is_model(p, folder)):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").digest()
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + content)
    return digest.hexdigest()


def hash_networks(networks: Sequence[nn.Module]) -> str:
    """Return sha256 over the names, types, shapes and bytes of all tensors of `networks`, LoRA layers included."""
    digest = hashlib.sha256()
    for number, network in enumerate(networks):
        for name, tensor in sorted(network.state_dict().items()):
            digest.update(f"{number} {name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _is_model(path: Path, folder: Path) -> bool:
    inside = path.parent != folder or path.name == "model_index.json"
    return inside and path.suffix in (".safetensors", ".json")
