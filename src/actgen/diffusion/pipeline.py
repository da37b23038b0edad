"""One face over diffusers' text-to-image pipelines: encode text and images, predict, decode."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..core.errors import UserError
from ..core.frozen import borrowed
from ..core.memory import is_out_of_memory
from ..core.rows import GeneratorColumns
from ..core.text import brief, first_line, visible
from .backbone import Backbone, Conditions, Recorder, Words
from .families import FAMILIES
from .flow_solvers import is_flow
from .latents import Latents
from .licence import licence_of
from .loading import Loading, load_pipeline, refuse_unguidable
from .solver import Solver
from .transformer_backbone import TransformerBackbone
from .unet_backbone import UNetBackbone
from .weights import hash_folder, hash_networks

if TYPE_CHECKING:
    from diffusers import AutoencoderTiny, DiffusionPipeline

__all__ = ["Conditions", "PipelineAdapter"]

TRIAL_SIZE, TRIAL_PIXELS = 8, 32  # least side of the latent and of the picture tried when a generator is loaded
_ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3")


class PipelineAdapter:
    """A diffusers pipeline seen as five functions. It is not changed but inside `borrowed()`, and given back as found.

    All image tensors are [B, 3, S, S]; `encode_image` takes [-1, 1], `decode` returns [0, 1]. Latents are float32 outside of
    the networks, whatever these compute in.
    """

    def __init__(self, pipeline: DiffusionPipeline, name: str, weights_hash: str = "", loading: Loading | None = None) -> None:
        refuse_unguidable(pipeline, name)
        self.pipeline, self.name = pipeline, name
        self.loading = Loading() if loading is None else loading
        self.vae = pipeline.vae
        self.latents = Latents(self.vae)
        self.backbone = self._open_backbone()
        self.weights_hash = weights_hash or hash_networks(self.networks)
        self._decoders: dict[tuple[str, torch.dtype], AutoencoderTiny] = {}

    def _open_backbone(self) -> Backbone:
        size, kind = self.loading.image_size, type(self.pipeline).__name__
        if self.loading.gradient_checkpointing and kind in FAMILIES and not FAMILIES[kind].checkpoints:
            raise UserError(
                f"loading.gradient_checkpointing = true changes the pictures of a {kind}, whose masks are left out then. "
                "Leave it out; sampling.text.through = latent needs no graph of the network."
            )
        if getattr(self.pipeline, "unet", None) is None:
            return TransformerBackbone(self.pipeline, self.name, self.networks, size)
        return UNetBackbone(self.pipeline, self.name, self.networks, size, compiled=self.loading.compile)

    @classmethod
    def from_pretrained(cls, path_or_id: str, *, device: str = "cpu", loading: Loading | None = None) -> PipelineAdapter:
        """Load a diffusers pipeline folder or hub id; `UserError` if it is neither, or no text-to-image pipeline."""
        loading = Loading() if loading is None else loading
        pipeline = load_pipeline(path_or_id, device, loading)
        folder = Path(path_or_id)
        if not loading.offload:
            for network in (getattr(pipeline, "unet", None), pipeline.vae if hasattr(pipeline, "unet") else None):
                if network is not None:
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
                side = min(size, max(TRIAL_SIZE, TRIAL_PIXELS // self.vae_factor))
                x = torch.zeros((1, channels, side, side), device=self.device)
                self.predict(x, torch.tensor(1.0 if self.is_flow else 1, device=self.device), self.encode_text(["a"]), 1.0)
                self.decode(x)
        except UserError:
            raise
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
                for network in (self.backbone.network, self.vae):
                    if network._supports_gradient_checkpointing:
                        network.enable_gradient_checkpointing()
            if self.loading.vae_slicing:
                self.vae.enable_slicing()
            if isinstance(self.backbone, UNetBackbone) and self.backbone.compiled is not None and dtype is None:
                self.backbone.compiled.refresh()
            if self._overflows():
                with borrowed([self.vae], torch.float32):
                    yield
            else:
                yield

    @contextmanager
    def _together(self) -> Iterator[None]:
        """Under offload, let the network stay while the VAE works: a loss decodes while its graph is alive."""
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
    def facts(self) -> GeneratorColumns:
        """What a picture depends on beside its request and the settings: the manifest's generator columns."""
        given = {key: value for key, value in asdict(self.loading).items() if value or key not in ("embeddings", "config")}
        loading = {**given, "dtype": str(self.dtype).removeprefix("torch.")}
        if self.loading.embeddings:
            loading["embeddings"] = list(self.loading.embeddings)  # as JSON reads it
        columns: GeneratorColumns = {"generator": self.name, "generator_hash": self.weights_hash, "loading": loading}
        if licence := licence_of(self.name):
            columns["generator_licence"] = licence
        return columns

    @property
    def networks(self) -> list[Any]:
        """The pipeline's networks that are used."""
        names = ("unet", "transformer", "vae", *_ENCODERS)
        return [network for name in names if (network := getattr(self.pipeline, name, None)) is not None]

    @property
    def unet(self) -> Any:
        """The UNet; `UserError` where the generator is none."""
        if not isinstance(self.backbone, UNetBackbone):
            raise UserError(
                f"--generator {visible(self.name)} is a {type(self.pipeline).__name__}, a transformer; this takes a UNet. "
                "What works: Stable Diffusion 1.x, 2.x and XL, and generators made with `actgen finetune`."
            )
        return self.backbone.network

    @property
    def device(self) -> torch.device:
        """Where the networks compute."""
        return torch.device(self.pipeline._execution_device)

    @property
    def dtype(self) -> torch.dtype:
        """What the network computes in."""
        return next(self.backbone.network.parameters()).dtype  # type: ignore[no-any-return]

    @property
    def parameters(self) -> int:
        """How many parameters the network has that is called in every step."""
        return sum(parameter.numel() for parameter in self.backbone.network.parameters())

    @property
    def vae_factor(self) -> int:
        """Pixels per latent position and axis: 8 for Stable Diffusion, 4 for the bundled generator."""
        return self.backbone.factor

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the latent at the size that was asked for, else the pipeline's native one."""
        return self.backbone.latent_shape

    @property
    def image_size(self) -> int:
        """Image size in pixels."""
        return self.latent_shape[1] * self.vae_factor

    @property
    def is_flow(self) -> bool:
        """Whether the generator was trained with flow matching."""
        return is_flow(self.pipeline.scheduler)

    @property
    def embeds_guidance_scale(self) -> bool:
        """Whether the network reads the guidance scale (LCM, Flux), so that no second branch is needed."""
        return self.backbone.embeds_guidance_scale

    def branches(self, guidance_scale: float) -> int:
        """Return 2 if this scale takes classifier-free guidance, else 1: up to 1, or where the network is told the scale."""
        return self.backbone.branches(guidance_scale)

    # text

    def encode_text(self, prompts: Sequence[str]) -> Conditions:
        """Prompts -> what the network reads of them; each distinct prompt is encoded once in the life of this object."""
        return self.backbone.encode_text(prompts)

    def forget_texts(self) -> None:
        """Encode every prompt anew from now on: the text encoders have changed."""
        self.backbone.forget_texts()

    @property
    def text_length(self) -> int:
        """How many rows a text has."""
        return self.backbone.text_length

    def real_tokens(self, prompt: str) -> Tensor:
        """Return which rows of a prompt's text are no padding, [L] bool: its words, and the marks at its ends."""
        return self.backbone.real_tokens(prompt)

    def token_positions(self, prompt: str, words: str) -> list[int]:
        """Return the rows of `prompt`'s text that spell `words`, every time they stand there."""
        return self.backbone.token_positions(prompt, words)

    # schedule and attention

    def solver(self, steps: int, *, scheduler: str, eta: float = 0.0, previous: str = "grid") -> Solver:
        """Return the solver of that name over the generator's own schedule; `UserError` if it cannot take it."""
        return self.backbone.solver(steps, scheduler, eta, previous)

    def map_resolution(self, wanted: int) -> int:
        """Return the side of the attention maps, `wanted` if not 0; `UserError` if there are none of that side."""
        return self.backbone.map_resolution(wanted)

    def recording(self, words: Sequence[Words], resolution: int) -> AbstractContextManager[Recorder]:
        """Hear inside how much attention each place of the image gives to `words`; no output changes by it."""
        return self.backbone.recording(words, resolution)

    # images

    @torch.no_grad()
    def encode_image(self, pixels: Tensor, noise: Tensor) -> Tensor:
        """[-1, 1] images and unit noise -> latents [B, C, h, w] in the network's units, sampled from the posterior."""
        return self.latents.encode(pixels.to(self.device, self.vae.dtype), noise)

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
            raw = self.latents.decode(latents)
        return (raw.float() / 2 + 0.5).clamp(0, 1)  # type: ignore[no-any-return]

    def _overflows(self) -> bool:
        """SDXL's decoder leaves float16's range. Older families' files do not say so, but diffusers fills in the same flag."""
        conditioning = bool(getattr(self.vae.config, "force_upcast", False))
        return conditioning and self.vae.dtype == torch.float16 and getattr(self.pipeline, "text_encoder_2", None) is not None

    def _light_decoder(self, name: str) -> AutoencoderTiny:
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
        """Return the network's output [B, C, h, w], float32, with classifier-free guidance where `branches` says so.

        `graph`: how many branches carry a graph back to the text: 0, 1 (the prompts', the other is computed without) or 2.
        `plain` allows the compiled network, which takes the calls that build no graph.
        """
        return self.backbone.predict(x, timestep, conditions, guidance_scale, graph=graph, plain=plain)
