"""Transformers, and networks that we do not know: called through one step of their own pipeline (`one_step.py`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import lcm

import torch
from torch import Tensor
from torch.nn import functional as F

from ..core.errors import UserError
from ..core.frozen import borrowed
from ..core.text import first_line
from .backbone import Conditions, Foreign, Words
from .families import FAMILIES, TOLD, Family
from .flow_solvers import flow_name, is_flow, make_flow_solver
from .hearing import listening
from .latents import Latents
from .one_step import Texts, plan, predict_once
from .solver import Solver
from .solvers import make_solver, scheduler_name
from .token_rows import TokenRows, align, hearing_tokenizers
from .transformer_attention import HeardGroup, TransformerRecorder, attention_layers
from .unet_backbone import latent_size, refuse_words

NATIVE = 1024  # pixels, where neither the network nor the pipeline says


@dataclass(frozen=True)
class Encoded:
    """One prompt as its pipeline encodes it, and which token is in which row of it."""

    texts: Texts
    rows: TokenRows

    @property
    def embedding(self) -> Tensor:
        """The prompt's own embedding [L, D]: the first thing that the first call returns."""
        first = self.texts[0][0] if isinstance(self.texts[0], tuple) else self.texts[0]
        embedding: Tensor = first[0]
        return embedding


class TransformerBackbone:
    """A network inside a pipeline of one of `FAMILIES`, or of an unknown class; `networks` rest while it is used.

    Prompts are encoded one at a time and texts of unequal length called apart, so a picture does not depend on its batch.
    """

    def __init__(self, pipeline: Foreign, name: str, networks: Sequence[Foreign], image_size: int = 0) -> None:
        self.pipeline, self.name, self.networks = pipeline, name, networks
        self.network = pipeline.transformer
        self.kind = type(pipeline).__name__
        self.family = FAMILIES.get(self.kind, Family(tokenizers=()))
        self._size = latent_size(image_size, self.factor, lcm(self.factor * self.family.patch, self.family.multiple))
        self._encoded: dict[tuple[str, torch.dtype], Encoded] = {}
        self._plans: dict[int, tuple[Tensor, Tensor]] = {}
        self._recorder: TransformerRecorder | None = None

    @property
    def device(self) -> torch.device:
        """Where the networks compute."""
        return torch.device(self.pipeline._execution_device)

    @property
    def dtype(self) -> torch.dtype:
        """What the network computes in."""
        return next(self.network.parameters()).dtype  # type: ignore[no-any-return]

    @property
    def factor(self) -> int:
        """Pixels per latent place and axis."""
        return int(self.pipeline.vae_scale_factor) * (2 if self.family.latent == "folded" else 1)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, h, w), of the native size if no other was asked for."""
        size = self._size or self._native_size()
        return Latents(self.pipeline.vae).channels, size, size

    def _native_size(self) -> int:
        said = getattr(self.network.config, "sample_size", None) or getattr(self.pipeline, "default_sample_size", None)
        return NATIVE // self.factor if not said or self.family.latent == "folded" else int(said)

    @property
    def embeds_guidance_scale(self) -> bool:
        """Whether the network is told the scale, or was distilled so that it does without."""
        return self.family.branches == TOLD or bool(getattr(self.pipeline.config, "is_distilled", False))

    def branches(self, guidance_scale: float) -> int:
        """Return 2 if this scale takes classifier-free guidance, else 1."""
        return 2 if guidance_scale > 1.0 and not self.embeds_guidance_scale else 1

    # text

    def encode_text(self, prompts: Sequence[str]) -> Conditions:
        """Return the prompts' embeddings, [1, B, L, D], zeros behind the shorter ones; each prompt is encoded once."""
        found = [self._encode(prompt).embedding.float() for prompt in prompts]
        longest = max(len(one) for one in found)
        padded = torch.stack([F.pad(one, (0, 0, 0, longest - len(one))) for one in found])
        return Conditions(padded.unsqueeze(0), prompts=tuple(prompts))

    def _encode(self, prompt: str) -> Encoded:
        key = (prompt, self.dtype)
        if key not in self._encoded:
            with (
                torch.no_grad(),
                borrowed(self.networks),
                hearing_tokenizers(self.pipeline, self.family.tokenizers) as heard,
            ):
                _, texts = plan(self.pipeline, 1, self._told(self._noise(1), 2.0, [prompt]))
            if not texts:
                raise UserError(f"--generator {self.name}: {self.kind} reads no text that can be guided.")
            length = len(Encoded(texts, TokenRows((), ())).embedding)
            calls = [each[0] for each in heard if each]
            rows = align(calls, length) if calls else TokenRows((-1,) * length, (True,) * length)
            self._encoded[key] = Encoded(texts, rows)
        return self._encoded[key]

    def forget_texts(self) -> None:
        """Encode every prompt anew from now on: the text encoders have changed."""
        self._encoded.clear()

    @property
    def text_length(self) -> int:
        """The rows of a short text; longer ones may have more."""
        return len(self._encode("a").rows.ids)

    def real_tokens(self, prompt: str) -> Tensor:
        """Return which rows of a prompt's text are no padding, [L] bool."""
        return torch.tensor(self._encode(prompt).rows.real)

    def token_positions(self, prompt: str, words: str) -> list[int]:
        """Return the rows of a prompt's text that spell `words` in one of its encoders, every time they stand there."""
        if self.kind not in FAMILIES:
            raise self._refuse_maps()
        rows = self._encode(prompt).rows
        found: set[int] = set()
        for name in self.family.tokenizers:
            tokenizer: Foreign = getattr(self.pipeline, name, None)
            if tokenizer is not None:
                found |= {row for at in (words, f" {words}") for row in rows.find(_ids(tokenizer, at))}
        if not found:
            raise refuse_words(prompt, words, self.name)
        return sorted(found)

    # schedule and attention

    def solver(self, steps: int, scheduler: str, eta: float, previous: str) -> Solver:
        """Return the solver of a name over the schedule as the pipeline plans it for its size."""
        stock = self.pipeline.scheduler
        if not is_flow(stock):
            return make_solver(stock.config, steps, scheduler=scheduler_name(scheduler, stock), eta=eta, previous=previous)
        return make_flow_solver(*self._plan(steps), flow_name(scheduler, stock))

    def _plan(self, steps: int) -> tuple[Tensor, Tensor]:
        """Return the timesteps [N] and noise levels [N + 1] of the pipeline's own schedule."""
        if steps not in self._plans:
            try:
                with torch.no_grad():
                    texts = self._encode("").texts
                    scheduler, _ = plan(self.pipeline, steps, self._told(self._noise(1), 2.0, [""]), texts)
                timesteps, sigmas = torch.as_tensor(scheduler.timesteps).cpu(), torch.as_tensor(scheduler.sigmas).cpu()
            except ValueError as error:
                raise UserError(f"sampling.num_inference_steps = {steps}: {first_line(error)} Take another number.") from error
            if not bool(sigmas.isfinite().all()):
                raise UserError(
                    f"sampling.num_inference_steps = {steps}: this schedule has no such levels. Take another number."
                )
            if len(timesteps) != steps or len(sigmas) != steps + 1 or float(sigmas[-1]) != 0.0:
                raise UserError(
                    f"this generator's {type(self.pipeline.scheduler).__name__} makes {len(timesteps)} steps of {steps}, or "
                    "does not end without noise. Allowed are schedulers of one prediction a step."
                )
            self._plans[steps] = timesteps, sigmas
        return self._plans[steps]

    @property
    def _side(self) -> int:
        return self.latent_shape[1] // self.family.patch

    def map_resolution(self, wanted: int) -> int:
        """Return the side of the attention maps, the same in every layer."""
        if self.kind not in FAMILIES:
            raise self._refuse_maps()
        if wanted not in (0, self._side):
            raise UserError(f"sampling.attention_resolution = {wanted}: this transformer has maps of side {self._side} alone.")
        return self._side

    def _refuse_maps(self) -> UserError:
        return UserError(
            f"--generator {self.name}: attention in a {self.kind} is laid out in a way that is not known here, so no mask can "
            'be read. Use sampling.image.mask = "none", the strategy text-only, or one of: Stable Diffusion 1, 2, XL, '
            f"{', '.join(name.removesuffix('Pipeline') for name in FAMILIES)}."
        )

    @contextmanager
    def recording(self, words: Sequence[Words], resolution: int) -> Iterator[TransformerRecorder]:
        """Hear the blocks that the family's row names."""
        layers = attention_layers(self.network, self.family)
        self._recorder = TransformerRecorder(self.family, words, resolution, len(layers))
        try:
            with listening(layers, self._recorder):
                yield self._recorder
        finally:
            self._recorder = None

    # prediction

    def predict(
        self, x: Tensor, timestep: Tensor, conditions: Conditions, guidance_scale: float, *, graph: int, plain: bool
    ) -> Tensor:
        """Return what one step of the pipeline predicts, [B, C, h, w], float32, guided as the pipeline does it.

        The graph goes back to the prompts' embedding alone; the pipeline makes one of both branches, so `graph` and `plain` do
        not matter.
        """
        encoded = [self._encode(prompt) for prompt in conditions.prompts]
        out: dict[int, Tensor] = {}
        for rows in _alike(encoded, self.family.ragged):
            if self._recorder is not None:
                self._recorder.begin(HeardGroup(rows, [encoded[row].rows for row in rows]))
            texts = _joined([encoded[row] for row in rows], [conditions.text_2BLD[-1, row] for row in rows])
            told = self._told(x[rows], guidance_scale, [conditions.prompts[row] for row in rows])
            predicted, _ = predict_once(self.pipeline, timestep, texts, told)
            out |= dict(zip(rows, self._unpacked(predicted, x.shape[1:]).float(), strict=True))
        return torch.stack([out[row] for row in range(len(x))])

    def _noise(self, count: int) -> Tensor:
        return torch.zeros((count, *self.latent_shape), device=self.device)

    def _told(self, x: Tensor, guidance_scale: float, prompts: Sequence[str]) -> dict[str, object]:
        """Return the arguments of the pipeline's call."""
        family, pixels = self.family, [side * self.factor for side in x.shape[-2:]]
        guided = self.branches(guidance_scale) == 2 or family.branches == TOLD
        latents = pack(x) if family.latent == "packed" else x
        return {
            "prompt": list(prompts),
            "latents": latents.to(self.dtype),
            "height": pixels[0],
            "width": pixels[1],
            family.scale: guidance_scale - family.less if guided else family.none,
            **family.told,
            **(family.told_guided if guided else {}),
        }

    def _unpacked(self, predicted: Tensor, shape: torch.Size) -> Tensor:
        if self.family.latent == "packed":
            return unpack(predicted, shape[-2], shape[-1])
        if self.family.latent == "folded":
            square: Tensor = predicted.transpose(1, 2).unflatten(-1, tuple(shape[-2:]))
            return square
        if predicted.shape[1:] != shape:
            raise UserError(
                f"--generator {self.name}: {self.kind} arranges its latents in a way that is not known here. Known are "
                f"{', '.join(FAMILIES)}, and pipelines whose latents are [B, C, h, w]."
            )
        return predicted


def _ids(tokenizer: Foreign, words: str) -> list[int]:
    ids: list[int] = tokenizer(words, add_special_tokens=False).input_ids
    return ids


def _alike(encoded: Sequence[Encoded], ragged: bool) -> list[list[int]]:
    """Return the images whose texts have the same shapes, in groups; with `ragged`, as many real tokens, too."""
    groups: dict[object, list[int]] = {}
    for row, one in enumerate(encoded):
        real = sum(one.rows.real) if ragged else 0
        groups.setdefault((tuple(one.embedding.shape), real), []).append(row)
    return list(groups.values())


def _joined(encoded: Sequence[Encoded], embeddings: Sequence[Tensor]) -> Texts:
    """Return what `encode_prompt` would return for several prompts, with other embeddings in the place of their own."""
    calls: Texts = []
    for number, parts in enumerate(zip(*(one.texts for one in encoded), strict=True)):
        several = isinstance(parts[0], tuple)
        values = [_cat(column) for column in zip(*parts, strict=True)] if several else [_cat(parts)]
        if number == 0:
            own = [
                tensor[: len(one.embedding)].to(one.embedding.dtype) for tensor, one in zip(embeddings, encoded, strict=True)
            ]
            values[0] = own if isinstance(values[0], list) else torch.stack(own)
        calls.append(tuple(values) if several else values[0])
    return calls


def _cat(column: Sequence[Foreign]) -> Foreign:
    """Join one returned value over prompts: tensors and lists by their first axis; what has none is the same for all."""
    first = column[0]
    if isinstance(first, Tensor):
        return torch.cat(list(column)) if first.ndim > 1 and len(first) == 1 else first
    return [value for each in column for value in each] if isinstance(first, list) else first


def pack(latents: Tensor) -> Tensor:
    """[B, C, h, w] -> [B, hw/4, 4C]: a row for each 2x2 places, as Flux and its kin read them."""
    batch, channels, height, width = latents.shape
    squares = latents.view(batch, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return squares.reshape(batch, (height // 2) * (width // 2), channels * 4)


def unpack(rows: Tensor, height: int, width: int) -> Tensor:
    """Invert `pack`."""
    batch, _, channels = rows.shape
    squares = rows.view(batch, height // 2, width // 2, channels // 4, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return squares.reshape(batch, channels // 4, height, width)
