"""Images <-> latents in the units that a generator's network reads, for every kind of autoencoder.

    raw = latents * scale + shift                                                                              (1)

Stable Diffusion has one scale; SD 3, Flux and their kin a shift, too; Qwen-Image and XL's successors a mean and a deviation a
channel; Flux 2 folds 2x2 places into channels, which a batch norm standardises; Sana's autoencoder has no distribution.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .backbone import Foreign


class Latents:
    """An autoencoder of diffusers and the units of its latents."""

    def __init__(self, vae: Foreign) -> None:
        self.vae = vae
        self.folds = getattr(vae, "bn", None) is not None
        self.frames = hasattr(vae.config, "temperal_downsample") or hasattr(vae.config, "temporal_downsample")

    @property
    def channels(self) -> int:
        """C of the latents."""
        config = self.vae.config
        raw = getattr(config, "latent_channels", None) or config.z_dim
        return int(raw) * (4 if self.folds else 1)

    def encode(self, pixels: Tensor, noise: Tensor) -> Tensor:
        """[-1, 1] images [B, 3, S, S] and unit noise of the latents' shape -> latents, sampled from the posterior if any."""
        encoded = self.vae.encode(pixels.unsqueeze(2) if self.frames else pixels)
        if not hasattr(encoded, "latent_dist"):
            return self.to_units(encoded.latent.float())
        mean, deviation = (self._flat(part).float() for part in (encoded.latent_dist.mean, encoded.latent_dist.std))
        own = unfold(noise.to(mean)) if self.folds else noise.to(mean)
        return self.to_units(mean + deviation * own)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents -> images in [-1, 1], not clamped, in the autoencoder's type."""
        raw = self.to_raw(latents).to(self.vae.dtype)
        out: Tensor = self.vae.decode(raw.unsqueeze(2) if self.frames else raw).sample
        return self._flat(out)

    def _flat(self, tensor: Tensor) -> Tensor:
        return tensor[:, :, 0] if self.frames else tensor

    def to_units(self, raw: Tensor) -> Tensor:
        """Invert (1)."""
        folded = fold(raw) if self.folds else raw
        shift, scale = self._units(folded)
        return (folded - shift) / scale

    def to_raw(self, latents: Tensor) -> Tensor:
        """Apply (1)."""
        shift, scale = self._units(latents)
        raw = latents * scale + shift
        return unfold(raw) if self.folds else raw

    def _units(self, like: Tensor) -> tuple[Tensor | float, Tensor | float]:
        """Return (shift, scale) of (1)."""
        config = self.vae.config
        if self.folds:
            norm = self.vae.bn
            deviation = (norm.running_var + config.batch_norm_eps).sqrt()
            return tuple(each.view(1, -1, 1, 1).to(like) for each in (norm.running_mean, deviation))
        scale = 1.0 / float(getattr(config, "scaling_factor", None) or 1.0)
        if getattr(config, "latents_mean", None) is None or getattr(config, "latents_std", None) is None:
            return float(getattr(config, "shift_factor", None) or 0.0), scale
        mean, std = (torch.tensor(values).view(1, -1, 1, 1).to(like) for values in (config.latents_mean, config.latents_std))
        return mean, std * scale


def fold(latents: Tensor) -> Tensor:
    """[B, C, h, w] -> [B, 4C, h/2, w/2]: 2x2 places become channels, as Flux 2 has them."""
    batch, channels, height, width = latents.shape
    squares = latents.view(batch, channels, height // 2, 2, width // 2, 2).permute(0, 1, 3, 5, 2, 4)
    return squares.reshape(batch, channels * 4, height // 2, width // 2)


def unfold(latents: Tensor) -> Tensor:
    """Invert `fold`."""
    batch, channels, height, width = latents.shape
    squares = latents.reshape(batch, channels // 4, 2, 2, height, width).permute(0, 1, 4, 2, 5, 3)
    return squares.reshape(batch, channels // 4, height * 2, width * 2)
