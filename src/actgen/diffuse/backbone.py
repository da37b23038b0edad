"""One face over Stable-Diffusion-type pipelines: encode text and images, predict, decode."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError


class Backbone:
    """A diffusers pipeline seen as five functions. Its networks are put in `eval()` and lose their gradients, no more.

    All image tensors are [B, 3, S, S]; `encode_image` takes [-1, 1], `decode` returns [0, 1].
    """

    def __init__(self, pipeline: Any, name: str, weights_hash: str = "") -> None:
        self.pipeline, self.name, self.weights_hash = pipeline, name, weights_hash
        self.unet, self.vae = pipeline.unet, pipeline.vae
        for module in (self.unet, self.vae, pipeline.text_encoder):
            module.requires_grad_(False).eval()
        self._prompts: dict[str, Tensor] = {}

    @classmethod
    def from_pretrained(cls, path_or_id: str, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Backbone:
        """Load a diffusers pipeline folder or hub id; `UserError` if it is neither, or has no UNet with text."""
        folder = Path(path_or_id)
        if folder.exists() and not (folder / "model_index.json").is_file():
            raise UserError(f"--generator {path_or_id}: no model_index.json in it. Give a diffusers pipeline folder, "
                            "a hub id, or make one with `actgen finetune --from-scratch tiny`.")  # fmt: skip
        pipeline = _load(path_or_id, dtype)
        missing = [part for part in ("unet", "vae", "text_encoder", "tokenizer") if getattr(pipeline, part, None) is None]
        if missing or hasattr(pipeline, "text_encoder_2"):
            raise UserError(f"--generator {path_or_id} is a {type(pipeline).__name__}, which is not supported yet. "
                            "Give a Stable Diffusion 1.x or 2.x pipeline.")  # fmt: skip
        pipeline.to(device)
        return cls(pipeline, path_or_id, hash_weights(folder) if folder.is_dir() else "")

    @property
    def device(self) -> torch.device:
        """Where the UNet is."""
        return next(self.unet.parameters()).device  # type: ignore[no-any-return]

    @property
    def dtype(self) -> torch.dtype:
        """What the UNet computes in."""
        return next(self.unet.parameters()).dtype  # type: ignore[no-any-return]

    @property
    def vae_factor(self) -> int:
        """Pixels per latent position and axis: 8 for Stable Diffusion, 4 for the bundled generator."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the latent at the pipeline's native size."""
        size = int(self.unet.config.sample_size)
        return int(self.unet.config.in_channels), size, size

    @property
    def image_size(self) -> int:
        """Native image size in pixels."""
        return self.latent_shape[1] * self.vae_factor

    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        """Prompts -> embeddings [B, L, D]; each distinct prompt is encoded once in the life of this object."""
        for prompt in dict.fromkeys(prompts):
            if prompt not in self._prompts:
                with torch.no_grad():
                    ids = self.token_ids(prompt).unsqueeze(0).to(self.device)
                    self._prompts[prompt] = self.pipeline.text_encoder(ids).last_hidden_state[0]
        return torch.stack([self._prompts[prompt] for prompt in prompts])

    def token_ids(self, prompt: str) -> Tensor:
        """Return the token ids of a prompt, padded to the model's length, [L]."""
        tokenizer = self.pipeline.tokenizer
        out = tokenizer(prompt, padding="max_length", max_length=tokenizer.model_max_length, truncation=True,
                        return_tensors="pt")  # fmt: skip
        return out.input_ids[0]  # type: ignore[no-any-return]

    def token_positions(self, prompt: str, words: str) -> list[int]:
        """Return the positions in `prompt`'s tokens that spell `words`, every time they stand there."""
        tokenizer = self.pipeline.tokenizer
        needle = tokenizer(words, add_special_tokens=False).input_ids
        hay = self.token_ids(prompt).tolist()
        starts = [i for i in range(len(hay) - len(needle) + 1) if needle and hay[i : i + len(needle)] == needle]
        if not starts:
            raise UserError(f"the class name {words!r} is not in the prompt {prompt!r} as the tokenizer of "
                            f"{self.name} reads it. Choose a shorter class name, or one in words that it knows.")  # fmt: skip
        return sorted({start + offset for start in starts for offset in range(len(needle))})

    @torch.no_grad()
    def encode_image(self, pixels: Tensor, noise: Tensor) -> Tensor:
        """[-1, 1] images and unit noise -> scaled latents [B, C, h, w], a draw from the posterior."""
        posterior = self.vae.encode(pixels.to(self.device, self.dtype)).latent_dist
        latents = posterior.mean + posterior.std * noise.to(posterior.mean)
        return latents * float(self.vae.config.scaling_factor)  # type: ignore[no-any-return]

    def decode(self, latents: Tensor) -> Tensor:
        """Scaled latents -> images in [0, 1]; differentiable."""
        raw = self.vae.decode(latents.to(self.dtype) / float(self.vae.config.scaling_factor)).sample
        return (raw / 2 + 0.5).clamp(0, 1)  # type: ignore[no-any-return]

    def predict(self, x: Tensor, timestep: Tensor, text_2BLD: Tensor, guidance_scale: float) -> Tensor:
        """Return the UNet's output with classifier-free guidance, both halves in one call; scale 1 needs only the text."""
        if guidance_scale == 1.0:
            return self.unet(x, timestep, text_2BLD[1], return_dict=False)[0]  # type: ignore[no-any-return]
        both = self.unet(torch.cat([x, x]), timestep, text_2BLD.flatten(0, 1), return_dict=False)[0]
        unconditional, conditional = both.chunk(2)
        return unconditional + guidance_scale * (conditional - unconditional)  # type: ignore[no-any-return]


def hash_weights(folder: Path) -> str:
    """Return sha256 over the names and contents of a pipeline's weights and configurations, sorted; cards do not count."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if _is_model(p, folder)):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _is_model(path: Path, folder: Path) -> bool:
    inside = path.parent != folder or path.name == "model_index.json"
    return inside and path.suffix in (".safetensors", ".json")


def _load(path_or_id: str, dtype: torch.dtype) -> Any:
    from diffusers import DiffusionPipeline
    from diffusers.utils import logging
    from transformers.utils import logging as text_logging

    logging.disable_progress_bar()
    text_logging.disable_progress_bar()
    try:
        return DiffusionPipeline.from_pretrained(path_or_id, dtype=dtype, use_safetensors=True)
    except (OSError, ValueError, KeyError, TypeError, json.JSONDecodeError) as error:
        first = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise UserError(f"cannot load the generator {path_or_id!r}: {first}\nGive a diffusers folder on this disk, or an id "
                        "such as stable-diffusion-v1-5/stable-diffusion-v1-5 (needs the network once).") from error  # fmt: skip
