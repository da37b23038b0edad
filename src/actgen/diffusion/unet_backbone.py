"""UNets that read text through cross-attention (Stable Diffusion 1, 2, XL, Turbo, LCM): called directly, branch by branch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from ..core.errors import UserError
from ..core.frozen import borrowed
from .attention import UNetRecorder, choose_resolution, map_layers, recording
from .backbone import Conditions, Foreign, Words
from .compiling import CompiledUNet
from .solver import Solver
from .solvers import make_solver, scheduler_name


class UNetBackbone:
    """A UNet with its text encoders; `networks` are all that must rest while it is used."""

    def __init__(
        self, pipeline: Foreign, name: str, networks: Sequence[Foreign], image_size: int = 0, *, compiled: bool = False
    ) -> None:
        self.pipeline, self.name, self.networks = pipeline, name, networks
        self.network = pipeline.unet
        self.compiled = CompiledUNet(self.network) if compiled else None
        self._latent_size = latent_size(image_size, self.factor, self.factor)
        self._text: dict[tuple[str, torch.dtype], tuple[Tensor, ...]] = {}
        self._empty: dict[torch.dtype, tuple[Tensor, ...]] = {}

    @property
    def device(self) -> torch.device:
        """Where the networks compute."""
        return torch.device(self.pipeline._execution_device)

    @property
    def dtype(self) -> torch.dtype:
        """What the UNet computes in."""
        return next(self.network.parameters()).dtype  # type: ignore[no-any-return]

    @property
    def factor(self) -> int:
        """Pixels per latent place and axis."""
        return int(2 ** (len(self.pipeline.vae.config.block_out_channels) - 1))

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, h, w), of the UNet's native size if no other was asked for."""
        size = self._latent_size or int(self.network.config.sample_size)
        return int(self.network.config.in_channels), size, size

    @property
    def embeds_guidance_scale(self) -> bool:
        """Whether the UNet reads the guidance scale (LCM)."""
        return self.network.config.time_cond_proj_dim is not None

    def branches(self, guidance_scale: float) -> int:
        """Return 2 if this scale takes classifier-free guidance, else 1: up to 1, or where the UNet is told the scale."""
        return 2 if guidance_scale > 1.0 and not self.embeds_guidance_scale else 1

    # text

    def encode_text(self, prompts: Sequence[str]) -> Conditions:
        """Return both branches' texts; each distinct prompt is encoded once in the life of this object."""
        parts = [self._encode_prompt(prompt) for prompt in prompts]
        pairs = [
            torch.stack([torch.stack([part[k + 1] for part in parts]), torch.stack([part[k] for part in parts])])
            for k in range(0, len(parts[0]), 2)
        ]
        if len(pairs) == 1:
            return Conditions(pairs[0])
        size = float(self.latent_shape[1] * self.factor)
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

    @property
    def text_length(self) -> int:
        """How many tokens a text is padded to."""
        return int(self.pipeline.tokenizer.model_max_length)

    def token_ids(self, prompt: str) -> Tensor:
        """Return the token ids of a prompt, padded, [L]."""
        return self._tokenize(prompt).input_ids[0]  # type: ignore[no-any-return]

    def real_tokens(self, prompt: str) -> Tensor:
        """Return which tokens of a prompt are no padding, [L] bool: its words, and the marks at its ends."""
        return self._tokenize(prompt).attention_mask[0].bool()  # type: ignore[no-any-return]

    def _tokenize(self, prompt: str) -> Foreign:
        return self.pipeline.tokenizer(
            prompt,
            padding="max_length",
            max_length=self.text_length,
            truncation=True,
            return_attention_mask=True,
            return_tensors="pt",
        )

    def token_positions(self, prompt: str, words: str) -> list[int]:
        """Return the positions in `prompt`'s tokens that spell `words`, every time they stand there."""
        needle = self.pipeline.tokenizer(words, add_special_tokens=False).input_ids
        hay = self.token_ids(prompt).tolist()
        starts = [i for i in range(len(hay) - len(needle) + 1) if needle and hay[i : i + len(needle)] == needle]
        if not starts:
            raise refuse_words(prompt, words, self.name)
        return sorted({start + offset for start in starts for offset in range(len(needle))})

    # schedule and attention

    def solver(self, steps: int, scheduler: str, eta: float, previous: str) -> Solver:
        """Return the solver of a name over the noise schedule in the pipeline's scheduler."""
        stock = self.pipeline.scheduler
        return make_solver(stock.config, steps, scheduler=scheduler_name(scheduler, stock), eta=eta, previous=previous)

    def map_resolution(self, wanted: int) -> int:
        """Return the side of the attention maps: `wanted`, or the one nearest to a quarter of the latent."""
        return choose_resolution(self.network, self.latent_shape[1], wanted or None)

    @contextmanager
    def recording(self, words: Sequence[Words], resolution: int) -> Iterator[UNetRecorder]:
        """Hear the cross-attention layers whose maps have this side."""
        with recording(map_layers(self.network, self.latent_shape[1], resolution), resolution, words) as recorder:
            yield recorder

    # prediction

    def predict(
        self, x: Tensor, timestep: Tensor, conditions: Conditions, guidance_scale: float, *, graph: int, plain: bool
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
            width = self.network.config.time_cond_proj_dim
            conditioning = torch.full((len(rows) * len(x),), guidance_scale - 1.0)
            embedded = self.pipeline.get_guidance_scale_embedding(conditioning, embedding_dim=width).to(self.device, self.dtype)
        added = {name: flat(tensor) for name, tensor in conditions.added.items()} or None
        many = torch.cat([x] * len(rows)).to(self.dtype)
        text, compiled = flat(conditions.text_2BLD), self.compiled
        if plain and compiled is not None and compiled.dtype == self.dtype and not torch.is_grad_enabled():
            out = compiled(many, timestep, text, embedded, added)
        else:
            out = self.network(many, timestep, text, timestep_cond=embedded, added_cond_kwargs=added, return_dict=False)[0]
        return out.float()


def refuse_words(prompt: str, words: str, name: str) -> UserError:
    """Return what to say when the class words are not among a prompt's tokens."""
    return UserError(
        f"the class name {words!r} is not in the prompt {prompt!r} as the tokenizer of "
        f"{name} reads it. Choose a shorter class name, or one in words that it knows."
    )


def latent_size(image_size: int, factor: int, multiple: int) -> int:
    """Return the side of the latents of images of that many pixels, 0 for 0; `UserError` unless a `multiple`."""
    if image_size % multiple:
        raise UserError(f"loading.image_size = {image_size}: this generator makes images of a multiple of {multiple} pixels.")
    return image_size // factor
