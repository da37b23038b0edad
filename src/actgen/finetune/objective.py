"""The loss of a latent diffusion model that reads text, whatever its UNet predicts (Ho et al. 2020; Rombach et al. 2022).

x_t = sqrt(abar) x0 + sqrt(1 - abar) e, and the UNet is to say e (epsilon), sqrt(abar) e - sqrt(1 - abar) x0 (v-prediction,
Salimans & Ho 2022) or x0 (sample); min-SNR weights (Hang et al. 2023) are those of the loss on x0, min(SNR, gamma), in units
of each: times 1/SNR, 1/(SNR + 1) and 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..core.errors import UserError
from ..core.rng import generator
from ..core.text import brief, visible
from ..diffusion.pipeline import PipelineAdapter
from ..diffusion.solvers import alphas_cumprod
from .examples import Examples
from .options import AdaptOptions
from .texts import encode_texts

PREDICTIONS = ("epsilon", "v_prediction", "sample")


@dataclass(frozen=True)
class Objective:
    """step -> loss: on images, and on `prior` weighed by `options.prior_preservation` if there is one (Ruiz et al. 2023).

    `autocast` opens accelerate's mixed precision.
    """

    adapter: PipelineAdapter
    examples: Examples
    options: AdaptOptions
    autocast: Callable[[], AbstractContextManager[None]]
    prior: Examples | None = None

    def __call__(self, step: int) -> Tensor:
        """Return the loss of one step, every generate of which comes from the step's own stream."""
        options = self.options
        rng = generator(options.seed, "finetune", options.way, step)
        pixels, prompts = self.examples.draw(options.batch_size, rng)
        weights = torch.full((options.batch_size,), 1.0 / options.batch_size)
        if self.prior is not None:
            before, its_prompts = self.prior.draw(options.batch_size, rng)
            pixels, prompts = torch.cat([pixels, before]), prompts + its_prompts
            weights = torch.cat([weights, options.prior_preservation * weights])
        errors = self.errors(pixels, prompts, rng)
        return (errors * weights.to(errors)).sum()

    def errors(self, pixels: Tensor, prompts: list[str], rng: torch.Generator) -> Tensor:
        """Return the weighted squared errors [B] of images [B, 3, S, S] in [-1, 1] at random timesteps."""
        adapter, config = self.adapter, self.adapter.pipeline.scheduler.config
        alphas = self._alphas
        posterior, noise = (torch.randn(self._latent_shape(pixels), generator=rng) for _ in range(2))
        t = torch.randint(len(alphas), (len(pixels),), generator=rng)
        dropped = torch.rand(len(pixels), generator=rng) < self.options.caption_dropout
        x0 = adapter.encode_image(pixels, posterior)
        noise, alpha = noise.to(x0), alphas[t].to(x0)
        a, s = alpha.sqrt().view(-1, 1, 1, 1), (1.0 - alpha).sqrt().view(-1, 1, 1, 1)
        trains_text = self.options.lora is not None and self.options.lora.text_encoder
        with self.autocast():
            conditions = encode_texts(adapter, prompts, dropped, pixels.shape[-1], graph=trains_text)
            output = adapter.predict(a * x0 + s * noise, t.to(x0.device), conditions, 1.0)
        wanted = {"epsilon": noise, "v_prediction": a * noise - s * x0, "sample": x0}[prediction(config)]
        weight = min_snr_weight(alpha, prediction(config), self.options.min_snr)
        errors: Tensor = weight * (output - wanted).square().mean(dim=(1, 2, 3))
        return errors

    @cached_property
    def _alphas(self) -> Tensor:
        return alphas_cumprod(self.adapter.pipeline.scheduler.config).float()

    def _latent_shape(self, pixels: Tensor) -> tuple[int, int, int, int]:
        side = pixels.shape[-1] // self.adapter.vae_factor
        return len(pixels), self.adapter.latent_shape[0], side, side


def prediction(config: Mapping[str, object]) -> str:
    """Return what the UNet of a scheduler configuration predicts."""
    return str(config.get("prediction_type") or "epsilon")


def min_snr_weight(alpha: Tensor, kind: str, gamma: float) -> Tensor:
    """Return the weights [B] of squared errors at abar = `alpha` [B]; `gamma` 0 is weight 1."""
    if not gamma:
        return torch.ones_like(alpha)
    snr = alpha / (1.0 - alpha)
    if kind == "epsilon":
        return (gamma / snr).clamp(max=1.0)  # of an SNR of 0 too
    return snr.clamp(max=gamma) / (snr + 1.0 if kind == "v_prediction" else 1.0)


def refuse_untrainable(adapter: PipelineAdapter) -> None:
    """Raise `UserError` for a generator that was not trained by this loss, and would unlearn what it was made for."""
    config, name = adapter.pipeline.scheduler.config, visible(adapter.name)
    assert adapter.unet is not None  # refuses transformers itself
    if adapter.embeds_guidance_scale:
        raise UserError(
            f"--generator {name} is a latent consistency model, which this loss would undo. Adapt the generator "
            "that it was distilled from."
        )
    if prediction(config) not in PREDICTIONS or config.get("beta_schedule") is None:
        kind = type(adapter.pipeline.scheduler).__name__
        raise UserError(
            f"--generator {name} has a {kind} with prediction_type {brief(prediction(config))}; "
            f"allowed are schedulers with betas and {', '.join(PREDICTIONS)}."
        )
