"""Second stage of training from scratch: a sharper decoder.

L1 alone smooths textures away, and a classifier trained on smooth pictures does worse on real ones. With the encoder, and so
the latents, left as they are, the decoder is trained on with a perceptual loss (Zhang et al. 2018, LPIPS without the learned
weights): squared distance of the unit-length feature columns of a small classifier, trained on the same labelled images.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional as F

from ..classifiers.small_cnn import SmallCNN
from ..core.rng import generator
from .autoencoder import to_unit
from .optimise import Schedule, Tick, optimise


def train_features(
    network: SmallCNN, pixels: Tensor, labels: Tensor, schedule: Schedule, folder: Path, *, seed: int
) -> Iterator[Tick]:
    """Train the classifier whose features the perceptual loss compares, on uint8 `pixels` [N, 3, S, S], a `Tick` a step."""
    network.train()

    def loss_at(step: int) -> Tensor:
        rows = torch.randint(len(pixels), (schedule.batch_size,), generator=generator(seed, "features", step))
        return F.cross_entropy(network(to_unit(pixels[rows])), labels[rows], label_smoothing=0.1)

    yield from optimise(network, loss_at, schedule, folder)
    network.eval().requires_grad_(False)


def train_decoder(
    vae: AutoencoderKL,
    network: SmallCNN,
    pixels: Tensor,
    latents: tuple[Tensor, Tensor],
    schedule: Schedule,
    folder: Path,
    *,
    seed: int,
    weight: float = 2.0,
) -> Iterator[Tick]:
    """Train decoder and post_quant_conv on posterior generates (`latents`: means, standard deviations), a `Tick` a step.

    Loss: |x - x'|_1 + weight * perceptual(x, x').
    """
    means, deviations = latents
    trained = nn.ModuleList([vae.decoder, vae.post_quant_conv]).train()

    def loss_at(step: int) -> Tensor:
        rng = generator(seed, "decoder", step)
        rows = torch.randint(len(pixels), (schedule.batch_size,), generator=rng)
        x = to_unit(pixels[rows])
        z = means[rows] + deviations[rows] * torch.randn((len(rows), *means.shape[1:]), generator=rng)
        restored = vae.decoder(vae.post_quant_conv(z.contiguous(memory_format=torch.channels_last)))
        loss: Tensor = (restored - x).abs().mean() + weight * perceptual(network, x, restored)
        return loss

    yield from optimise(trained, loss_at, schedule, folder)
    vae.eval()


def perceptual(network: SmallCNN, x: Tensor, other: Tensor) -> Tensor:
    """Mean over stages and positions of the squared distance between unit feature columns, in [0, 4]."""
    with torch.no_grad():
        wanted = network.stage_outputs(x)
    pairs = zip(wanted, network.stage_outputs(other), strict=True)
    distances = [(F.normalize(a, dim=1) - F.normalize(b, dim=1)).square().sum(dim=1).mean() for a, b in pairs]
    return torch.stack(distances).mean()
