"""Full fine-tuning: all weights of the UNet; the result is a complete pipeline folder."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from ..diffusion.pipeline import PipelineAdapter


def unfreeze(adapter: PipelineAdapter, resolution: int) -> nn.Module:
    """Return the UNet, to be trained as a whole, whose own size is `resolution` pixels from now on."""
    adapter.unet.register_to_config(sample_size=resolution // adapter.vae_factor)
    return adapter.unet.requires_grad_(True)  # type: ignore[no-any-return]


def save_full(adapter: PipelineAdapter, folder: Path) -> None:
    """Write the pipeline as a diffusers folder, float32 safetensors."""
    adapter.pipeline.save_pretrained(folder, safe_serialization=True)
