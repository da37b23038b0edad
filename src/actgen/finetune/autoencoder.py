"""First stage of training from scratch: pixels <-> latents (the variational autoencoder of latent diffusion).

L = |x - decode(z)|_1 + kl_weight * KL(q(z|x) || N(0, I)), means over all entries (Rombach et al. 2022, without the
adversarial term; `decoder.py` adds a perceptual one afterwards).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from ..core.rng import generator
from .optimise import Schedule, Tick, maybe_compiled, optimise


def to_unit(pixels: Tensor) -> Tensor:
    """uint8 [B, 3, H, W] -> float32 in [-1, 1], channels last."""
    return (pixels.float() / 127.5 - 1.0).contiguous(memory_format=torch.channels_last)


def train_autoencoder(
    vae: AutoencoderKL,
    pixels: Tensor,
    schedule: Schedule,
    folder: Path,
    *,
    seed: int,
    kl_weight: float = 2e-3,
    compile: bool = False,
) -> Iterator[Tick]:
    """Train `vae` on `pixels` (uint8 [N, 3, 32, 32]), a `Tick` a step; afterwards its latents have mean 0 and std 1."""
    vae.to(memory_format=torch.channels_last).train()
    encoder, decoder = maybe_compiled(vae.encoder, compile), maybe_compiled(vae.decoder, compile)

    def loss_at(step: int) -> Tensor:
        rng = generator(seed, "autoencoder", step)
        x = to_unit(pixels[torch.randint(len(pixels), (schedule.batch_size,), generator=rng)])
        mean, log_variance = vae.quant_conv(encoder(x)).chunk(2, dim=1)
        log_variance = log_variance.clamp(-30.0, 20.0)
        noise = torch.randn(mean.shape, generator=rng)
        restored = decoder(vae.post_quant_conv(mean + (0.5 * log_variance).exp() * noise))
        kl = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance)
        loss: Tensor = (restored - x).abs().mean() + kl_weight * kl.mean()
        return loss

    yield from optimise(vae, loss_at, schedule, folder)
    vae.eval()
    whiten(vae, pixels[: min(len(pixels), 4096)])


@torch.no_grad()
def whiten(vae: AutoencoderKL, pixels: Tensor) -> None:
    """Fold a shift and a scale per channel into the 1x1 convolutions around the latent, so that z has mean 0, std 1.

    The decoded images do not change: post_quant_conv gets the inverse. A diffusion model then starts from data that its
    noise schedule was made for, without a scaling factor per channel that pipelines do not know.
    """
    mean, deviation = encode(vae, pixels)
    z = mean + deviation * torch.randn(mean.shape, generator=generator(0, "whiten"))
    shift, scale = z.mean(dim=(0, 2, 3)), z.std(dim=(0, 2, 3))
    channels = len(shift)
    quant, post = vae.quant_conv, vae.post_quant_conv
    quant.bias[:channels] = (quant.bias[:channels] - shift) / scale
    quant.weight[:channels] /= scale.view(-1, 1, 1, 1)
    quant.bias[channels:] -= 2.0 * scale.log()
    post.bias += (post.weight[:, :, 0, 0] * shift).sum(dim=1)
    post.weight *= scale.view(1, -1, 1, 1)


@torch.no_grad()
def encode(vae: AutoencoderKL, pixels: Tensor, batch_size: int = 256) -> tuple[Tensor, Tensor]:
    """uint8 [N, 3, H, W] -> posterior means and standard deviations, each [N, C, h, w]."""
    posteriors = [vae.encode(to_unit(batch)).latent_dist for batch in pixels.split(batch_size)]
    return torch.cat([p.mean for p in posteriors]), torch.cat([p.std for p in posteriors])
