"""Stable Diffusion 1.5 and 2.1-base in their published geometry, with random weights and without a download.

Parameters, measured, and asserted whenever a pipeline is made (they are those of the published files):

    SD 1.5       UNet 859,520,964    VAE 83,653,863    text encoder 123,060,480
    SD 2.1-base  UNet 865,910,724    VAE 83,653,863    text encoder 340,387,840

Only the tokenizer is our own (`finetune/tiny.py`): 541 tokens for the classes below, in texts of 77 tokens, so most of the
49,408 rows of the token embedding are never read.

With `device="meta"` a pipeline takes no memory and can be counted (`memory.py`); with a real device it generates noise.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from actgen.finetune import tiny

CLASSES = ("coat", "ankle boot", "bag", "dress")
TOKENS = 77
VOCABULARY = 49_408
PARAMETERS = {
    "sd15": {"unet": 859_520_964, "vae": 83_653_863, "text_encoder": 123_060_480},
    "sd21": {"unet": 865_910_724, "vae": 83_653_863, "text_encoder": 340_387_840},
}

# scheduler_config.json of both, as published; 2.1-base is the one of Stability's two 2.1 models that predicts the noise
SCHEDULER = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "skip_prk_steps": True,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "clip_sample": False,
    "trained_betas": None,
    "prediction_type": "epsilon",
}


def build_tokenizer() -> CLIPTokenizer:
    """Return the tokenizer of the bundled generator's kind, for `CLASSES`, reading 77 tokens as CLIP does."""
    tokenizer = tiny.build_tokenizer(CLASSES)
    tokenizer.model_max_length = TOKENS
    return tokenizer


def build_text_encoder(tokenizer: CLIPTokenizer, *, width: int, layers: int, heads: int, activation: str) -> CLIPTextModel:
    """Return an untrained CLIP text encoder that reads 77 tokens."""
    config = CLIPTextConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=TOKENS,
        projection_dim=width,
        hidden_act=activation,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def build_autoencoder() -> AutoencoderKL:
    """Return the untrained autoencoder of both: 3x512x512 <-> 4x64x64."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=32,
        sample_size=512,
        scaling_factor=0.18215,
    )


def build_unet(**options: Any) -> UNet2DConditionModel:
    """Return an untrained UNet for 4x64x64 latents; `options` are what the two disagree about."""
    return UNet2DConditionModel(
        sample_size=64,
        in_channels=4,
        out_channels=4,
        block_out_channels=(320, 640, 1280, 1280),
        layers_per_block=2,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        **options,
    )


def sd15(device: str = "meta", dtype: torch.dtype = torch.float16) -> StableDiffusionPipeline:
    """Return Stable Diffusion 1.5: heads of 40 to 160 channels, CLIP ViT-L/14's text encoder."""
    return _build(
        "sd15",
        device,
        dtype,
        {"width": 768, "layers": 12, "heads": 12, "activation": "quick_gelu"},
        {"cross_attention_dim": 768, "attention_head_dim": 8},
    )


def sd21(device: str = "meta", dtype: torch.dtype = torch.float16) -> StableDiffusionPipeline:
    """Return Stable Diffusion 2.1-base: heads of 64 channels, 23 of OpenCLIP ViT-H/14's 24 text layers."""
    return _build(
        "sd21",
        device,
        dtype,
        {"width": 1024, "layers": 23, "heads": 16, "activation": "gelu"},
        {"cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20], "use_linear_projection": True},
    )


GEOMETRIES = {"sd15": sd15, "sd21": sd21}


def parameters(network: nn.Module) -> int:
    """Return how many parameters a network has."""
    return sum(parameter.numel() for parameter in network.parameters())


def _build(name: str, device: str, dtype: torch.dtype, text: dict[str, Any], unet: dict[str, Any]) -> StableDiffusionPipeline:
    tokenizer = build_tokenizer()
    scheduler = PNDMScheduler.from_config(SCHEDULER)  # outside of `device`: its tables are read on the CPU
    default = torch.get_default_dtype()
    try:
        torch.set_default_dtype(dtype)  # made in `dtype`, so that a large network is never there in float32
        with torch.device(device):
            networks = {
                "unet": build_unet(**unet),
                "vae": build_autoencoder(),
                "text_encoder": build_text_encoder(tokenizer, **text),
            }
    finally:
        torch.set_default_dtype(default)
    assert {part: parameters(network) for part, network in networks.items()} == PARAMETERS[name]
    parts: dict[str, Any] = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    pipeline = StableDiffusionPipeline(tokenizer=tokenizer, scheduler=scheduler, **networks, **parts)
    pipeline.set_progress_bar_config(disable=True)
    for network in networks.values():
        network.eval()
    return pipeline
