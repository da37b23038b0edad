"""Last stage of training from scratch: the text-conditional denoiser, UNet and text encoder together.

v-prediction (Salimans & Ho 2022) weighted by min(SNR, 5)/(SNR + 1) (Hang et al. 2023, min-SNR for v), with a tenth of the
prompts empty for classifier-free guidance (Ho & Salimans 2022).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextModel, CLIPTokenizer

from ..core.class_words import class_prompt
from ..core.rng import generator
from .optimise import Schedule, Tick, maybe_compiled, optimise
from .tiny import TEMPLATES, build_scheduler


def train_denoiser(
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    latents: tuple[Tensor, Tensor],
    labels: Tensor,
    class_names: Sequence[str],
    schedule: Schedule,
    folder: Path,
    *,
    seed: int,
    drop_prompt: float = 0.1,
    snr_cap: float = 5.0,
    compile: bool = False,
) -> Iterator[Tick]:
    """Train on `latents` (posterior means and standard deviations, [N, C, h, w]) and `labels` [N], a `Tick` a step."""
    means, deviations = latents
    prompts = [class_prompt(name, template) for name in class_names for template in TEMPLATES] + [""]
    ids = tokenizer(prompts, padding="max_length", truncation=True, return_tensors="pt").input_ids
    scheduler = build_scheduler()
    alphas = scheduler.alphas_cumprod
    unet.to(memory_format=torch.channels_last).train()
    text_encoder.train()
    model = maybe_compiled(unet, compile)

    def loss_at(step: int) -> Tensor:
        rng = generator(seed, "denoiser", step)
        size = (schedule.batch_size,)
        rows = torch.randint(len(means), size, generator=rng)
        text = labels[rows] * len(TEMPLATES) + torch.randint(len(TEMPLATES), size, generator=rng)
        text[torch.rand(size, generator=rng) < drop_prompt] = len(prompts) - 1
        used, where = text.unique(return_inverse=True)
        distinct = text_encoder(ids[used]).last_hidden_state
        # a product, not an index: the backward of indexing adds in an order that changes from run to run
        embeddings = torch.einsum("bu,uld->bld", F.one_hot(where, len(used)).to(distinct), distinct)
        x = means[rows] + deviations[rows] * torch.randn((*size, *means.shape[1:]), generator=rng)
        t = torch.randint(len(alphas), size, generator=rng)
        noise = torch.randn(x.shape, generator=rng)
        noisy = scheduler.add_noise(x, noise, t).contiguous(memory_format=torch.channels_last)
        error = model(noisy, t, embeddings, return_dict=False)[0] - scheduler.get_velocity(x, noise, t)
        snr = alphas[t] / (1.0 - alphas[t])
        weight = snr.clamp(max=snr_cap) / (snr + 1.0)
        loss: Tensor = (weight * error.square().mean(dim=(1, 2, 3))).mean()
        return loss

    yield from optimise(nn.ModuleList([unet, text_encoder]), loss_at, schedule, folder)
    unet.eval()
    text_encoder.eval()
