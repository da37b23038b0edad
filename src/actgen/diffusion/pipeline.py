"""One face over Stable-Diffusion-type pipelines: encode text and images, predict, decode."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..core.errors import UserError
from ..core.frozen import borrowed
from ..core.memory import is_out_of_memory
from ..core.text import brief, first_line, visible
from .compiling import CompiledUNet
from .licence import licence_of
from .loading import Loading, load_pipeline, refuse_unguidable
from .weights import hash_folder, hash_networks

TRIAL_SIZE = 8  # of the latent that is tried when a generator is loaded


@dataclass(frozen=True)
class Conditions:
    """What the UNet is told beside latents and time, for B images; row 0 unconditional, row 1 of the prompts.

    `text_2BLD`: token embeddings. `added`: SDXL's pooled text and sizes, each [2, B, ...]; empty for other families.
    """

    text_2BLD: Tensor
    added: dict[str, Tensor] = field(default_factory=dict)


class PipelineAdapter:
    """A diffusers pipeline seen as five functions. It is not changed but inside `borrowed()`, and given back as found.

    All image tensors are [B, 3, S, S]; `encode_image` takes [-1, 1], `decode` returns [0, 1]. Latents are float32 outside of
    the networks, whatever these compute in.
    """

    def __init__(self, pipeline: Any, name: str, weights_hash: str = "", loading: Loading | None = None) -> None:
        refuse_unguidable(pipeline, name)
        self.pipeline, self.name = pipeline, name
        self.unet, self.vae = pipeline.unet, pipeline.vae
        self.loading = Loading() if loading is None else loading
        self.weights_hash = weights_hash or hash_networks(self.networks)
        self._text: dict[tuple[str, torch.dtype], tuple[Tensor, ...]] = {}
        self._empty: dict[torch.dtype, tuple[Tensor, ...]] = {}
        self._decoders: dict[tuple[str, torch.dtype], Any] = {}
        self._compiled = CompiledUNet(self.unet) if self.loading.compile else None

    @classmethod
    def from_pretrained(cls, path_or_id: str, *, device: str = "cpu", loading: Loading | None = None) -> PipelineAdapter:
        """Load a diffusers pipeline folder or hub id; `UserError` if it is neither, or has no UNet with text."""
        loading = Loading() if loading is None else loading
        pipeline = load_pipeline(path_or_id, device, loading)
        folder = Path(path_or_id)
        if not loading.offload:
            for network in (pipeline.unet, pipeline.vae):
                network.to(memory_format=torch.channels_last)
        own = folder.is_dir() and not (loading.lora or loading.embeddings)
        adapter = cls(pipeline, path_or_id, hash_folder(folder) if own else "", loading)
        adapter._try_out()
        return adapter

    def _try_out(self) -> None:
        """Raise `UserError` if a small picture does not pass: the files are damaged, or do not fit together."""
        try:
            with torch.no_grad(), self.borrowed():
                channels, size, _ = self.latent_shape
                x = torch.zeros((1, channels, *(min(size, TRIAL_SIZE),) * 2), device=self.device)
                self.predict(x, torch.tensor(1, device=self.device), self.encode_text(["a"]), 1.0)
                self.decode(x)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            reason = f"{type(error).__name__}: {first_line(error)}"
            raise UserError(
                f"--generator {visible(self.name)} cannot generate ({reason}). Its files may be damaged, or belong to "
                "different generators."
            ) from error

    @contextmanager
    def borrowed(self, dtype: torch.dtype | None = None) -> Iterator[None]:
        """Use the networks in eval mode, without parameter gradients, in `dtype` if given; all comes back as found."""
        with borrowed(self.networks, dtype), self._together():
            if self.loading.gradient_checkpointing:
                self.unet.enable_gradient_checkpointing()
                self.vae.enable_gradient_checkpointing()
            if self.loading.vae_slicing:
                self.vae.enable_slicing()
            if self._compiled is not None and dtype is None:
                self._compiled.refresh()
            if self._overflows():
                with borrowed([self.vae], torch.float32):
                    yield
            else:
                yield

    @contextmanager
    def _together(self) -> Iterator[None]:
        """Under offload, let the UNet stay while the VAE works: a loss decodes while the UNet's graph is alive."""
        hook = getattr(self.vae, "_hf_hook", None)
        before = getattr(hook, "prev_module_hook", None)
        if before is None:
            yield
            return
        try:
            hook.prev_module_hook = None  # type: ignore[union-attr]
            yield
        finally:
            hook.prev_module_hook = before  # type: ignore[union-attr]

    @property
    def facts(self) -> dict[str, object]:
        """What a picture depends on beside its request and the settings: the manifest's generator columns."""
        given = {key: value for key, value in asdict(self.loading).items() if value or key not in ("embeddings", "config")}
        loading = {**given, "dtype": str(self.dtype).removeprefix("torch.")}
        if self.loading.embeddings:
            loading["embeddings"] = list(self.loading.embeddings)  # as JSON reads it
        stated = {"generator_licence": licence} if (licence := licence_of(self.name)) else {}
        return {"generator": self.name, "generator_hash": self.weights_hash, "loading": loading, **stated}

    @property
    def networks(self) -> list[Any]:
        """The pipeline's networks that are used."""
        encoders = [getattr(self.pipeline, name, None) for name in ("text_encoder", "text_encoder_2")]
        return [self.unet, self.vae, *(encoder for encoder in encoders if encoder is not None)]

    @property
    def device(self) -> torch.device:
        """Where the networks compute."""
        return torch.device(self.pipeline._execution_device)

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

    @property
    def embeds_guidance_scale(self) -> bool:
        """Whether the UNet reads the guidance scale (LCM), so that no second branch is needed."""
        return self.unet.config.time_cond_proj_dim is not None

    def branches(self, guidance_scale: float) -> int:
        """Return 2 if this scale takes classifier-free guidance, else 1: up to 1, or where the UNet is told the scale."""
        return 2 if guidance_scale > 1.0 and not self.embeds_guidance_scale else 1

    # text

    def encode_text(self, prompts: Sequence[str]) -> Conditions:
        """Prompts -> what the UNet reads of them; each distinct prompt is encoded once in the life of this object."""
        parts = [self._encode_prompt(prompt) for prompt in prompts]
        pairs = [
            torch.stack([torch.stack([part[k + 1] for part in parts]), torch.stack([part[k] for part in parts])])
            for k in range(0, len(parts[0]), 2)
        ]
        if len(pairs) == 1:
            return Conditions(pairs[0])
        size = float(self.image_size)
        sizes = torch.tensor([size, size, 0.0, 0.0, size, size], device=self.device)
        return Conditions(pairs[0], {"text_embeds": pairs[1], "time_ids": sizes.expand(2, len(parts), 6)})

    def _encode_prompt(self, prompt: str) -> tuple[Tensor, ...]:
        """(text [L, D], unconditional text) and, with a second encoder, (pooled [P], unconditional pooled), float32."""
        key = (prompt, self.dtype)
        if key not in self._text:
            with torch.no_grad(), borrowed(self.networks):
                out = self.pipeline.encode_prompt(
                    prompt=prompt, device=self.device, num_images_per_prompt=1, do_classifier_free_guidance=True
                )
            self._empty[self.dtype] = tuple(tensor[0].float() for tensor in out[1::2])
            self._text[key] = tuple(tensor[0].to(self.dtype) for tensor in out[::2])
        conditioning = zip(self._text[key], self._empty[self.dtype], strict=True)
        return tuple(tensor.float() for pair in conditioning for tensor in pair)

    def forget_texts(self) -> None:
        """Encode every prompt anew from now on: the text encoders have changed."""
        self._text.clear()
        self._empty.clear()

    def token_ids(self, prompt: str) -> Tensor:
        """Return the token ids of a prompt, padded to the model's length, [L]."""
        return self._tokenize(prompt).input_ids[0]  # type: ignore[no-any-return]

    def real_tokens(self, prompt: str) -> Tensor:
        """Return which tokens of a prompt are no padding, [L] bool: its words, and the marks at its ends."""
        return self._tokenize(prompt).attention_mask[0].bool()  # type: ignore[no-any-return]

    def _tokenize(self, prompt: str) -> Any:
        tokenizer = self.pipeline.tokenizer
        return tokenizer(
            prompt,
            padding="max_length",
            max_length=tokenizer.model_max_length,
            truncation=True,
            return_attention_mask=True,
            return_tensors="pt",
        )

    def token_positions(self, prompt: str, words: str) -> list[int]:
        """Return the positions in `prompt`'s tokens that spell `words`, every time they stand there."""
        tokenizer = self.pipeline.tokenizer
        needle = tokenizer(words, add_special_tokens=False).input_ids
        hay = self.token_ids(prompt).tolist()
        starts = [i for i in range(len(hay) - len(needle) + 1) if needle and hay[i : i + len(needle)] == needle]
        if not starts:
            raise UserError(
                f"the class name {words!r} is not in the prompt {prompt!r} as the tokenizer of "
                f"{self.name} reads it. Choose a shorter class name, or one in words that it knows."
            )
        return sorted({start + offset for start in starts for offset in range(len(needle))})

    # images

    @torch.no_grad()
    def encode_image(self, pixels: Tensor, noise: Tensor) -> Tensor:
        """[-1, 1] images and unit noise -> scaled latents [B, C, h, w], sampled from the posterior."""
        posterior = self.vae.encode(pixels.to(self.device, self.vae.dtype)).latent_dist
        mean = posterior.mean.float()
        raw = mean + posterior.std.float() * noise.to(mean)
        shift, scale = self._latent_units(raw)
        scaled: Tensor = (raw - shift) / scale
        return scaled

    def decode(self, latents: Tensor, decoder: str = "full") -> Tensor:
        """Scaled latents -> images in [0, 1], float32; differentiable.

        `decoder`: "full"; "half", a picture of half the size from latents of half the size, about a quarter of the cost; or
        the folder or id of an `AutoencoderTiny`.
        """
        if decoder not in ("full", "half"):
            raw = self._light_decoder(decoder).decode(latents.to(self.dtype)).sample
        else:
            if decoder == "half":
                latents = F.avg_pool2d(latents, 2)
            shift, scale = self._latent_units(latents)
            raw = self.vae.decode((latents * scale + shift).to(self.vae.dtype)).sample
        return (raw.float() / 2 + 0.5).clamp(0, 1)  # type: ignore[no-any-return]

    def _latent_units(self, like: Tensor) -> tuple[Tensor | float, Tensor | float]:
        """(shift, scale) of raw latents = scaled latents * scale + shift."""
        config = self.vae.config
        scale = 1.0 / float(config.scaling_factor)
        if getattr(config, "latents_mean", None) is None or getattr(config, "latents_std", None) is None:
            return 0.0, scale
        mean, std = (torch.tensor(values).view(1, -1, 1, 1).to(like) for values in (config.latents_mean, config.latents_std))
        return mean, std * scale

    def _overflows(self) -> bool:
        """SDXL's decoder leaves float16's range. Older families' files do not say so, but diffusers fills in the same flag."""
        conditioning = bool(getattr(self.vae.config, "force_upcast", False))
        return conditioning and self.vae.dtype == torch.float16 and getattr(self.pipeline, "text_encoder_2", None) is not None

    def _light_decoder(self, name: str) -> Any:
        key = (name, self.dtype)
        if key not in self._decoders:
            from diffusers import AutoencoderTiny

            try:
                if not Path(name).is_dir() and "/" not in name:
                    raise ValueError(name)
                made = AutoencoderTiny.from_pretrained(name, torch_dtype=self.dtype, use_safetensors=True)
            except Exception as error:
                raise UserError(
                    f"sampling.text.decoder = {brief(name)}: allowed are full, half, or the folder or id of an "
                    "AutoencoderTiny (such as madebyollin/taesd)."
                ) from error
            self._decoders[key] = made.to(self.device).eval().requires_grad_(False)
        return self._decoders[key]

    # prediction

    def predict(
        self,
        x: Tensor,
        timestep: Tensor,
        conditions: Conditions,
        guidance_scale: float,
        *,
        graph: int = 0,
        plain: bool = False,
    ) -> Tensor:
        """Return the UNet's output [B, C, h, w], float32, with classifier-free guidance where `branches` says so.

        `graph`: how many branches carry a graph back to the text: 0, 1 (the prompts', the other is computed without) or 2.
        `plain` allows the compiled network, which takes the calls that build no graph.
        """
        if self.branches(guidance_scale) == 1:
            return self._call(x, timestep, conditions, [1], guidance_scale, plain)
        if graph == 1:
            with torch.no_grad():
                unconditional = self._call(x, timestep, conditions, [0], guidance_scale, plain)
            conditional = self._call(x, timestep, conditions, [1], guidance_scale, plain)
        else:
            unconditional, conditional = self._call(x, timestep, conditions, [0, 1], guidance_scale, plain).chunk(2)
        return unconditional + guidance_scale * (conditional - unconditional)

    def _call(
        self, x: Tensor, timestep: Tensor, conditions: Conditions, rows: list[int], guidance_scale: float, plain: bool
    ) -> Tensor:
        def flat(tensor_2B: Tensor) -> Tensor:
            return torch.cat([tensor_2B[row] for row in rows]).to(self.dtype)

        embedded = None
        if self.embeds_guidance_scale:
            width = self.unet.config.time_cond_proj_dim
            conditioning = torch.full((len(rows) * len(x),), guidance_scale - 1.0)
            embedded = self.pipeline.get_guidance_scale_embedding(conditioning, embedding_dim=width).to(self.device, self.dtype)
        added = {name: flat(tensor) for name, tensor in conditions.added.items()} or None
        many = torch.cat([x] * len(rows)).to(self.dtype)
        text, compiled = flat(conditions.text_2BLD), self._compiled
        if plain and compiled is not None and compiled.dtype == self.dtype and not torch.is_grad_enabled():
            out = compiled(many, timestep, text, embedded, added)
        else:
            out = self.unet(many, timestep, text, timestep_cond=embedded, added_cond_kwargs=added, return_dict=False)[0]
        return out.float()
