"""Cross-attention maps of a UNet that we do not own: borrowed inside a `with`, given back as found.

Only the layers that are read materialise softmax(QK^T); all others keep their fused attention.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..core.errors import UserError

if TYPE_CHECKING:
    from diffusers.models.attention_processor import Attention


@dataclass
class AttentionRecorder:
    """Collects one map a layer and call of the UNet; `take()` hands them over and stops listening.

    Deaf after `take()`: with gradient checkpointing the backward pass calls the layers again.
    """

    resolution: int
    layers: int
    listening: bool = True
    maps: list[Tensor] = field(default_factory=list)

    def offer(self, probabilities: Tensor, heads: int) -> None:
        """Keep the head mean of `probabilities` [B*heads, R*R, L] if it has this recorder's resolution."""
        if self.listening and probabilities.shape[1] == self.resolution**2:
            self.maps.append(probabilities.detach().float().unflatten(0, (-1, heads)).mean(dim=1))

    def take(self, images: int) -> Tensor:
        """Return the mean over the layers as [branches, B, R, R, L], every layer with equal weight.

        The branches of classifier-free guidance may have come in one call of the UNet or in one each.
        """
        self.listening = False
        calls = torch.stack(self.maps).unflatten(0, (-1, self.layers)).mean(dim=1)
        self.maps.clear()
        square: Tensor = calls.flatten(0, 1).unflatten(1, (self.resolution, self.resolution)).unflatten(0, (-1, images))
        return square


class RecordingProcessor:
    """Attention in the open: the mathematics of the stock processor with the probabilities offered to a recorder."""

    def __init__(self, recorder: AttentionRecorder, stock: Any) -> None:
        self.recorder = recorder
        self.stock = stock

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        **kwargs: object,
    ) -> Tensor:
        """Return what the stock processor returns, [B, Q, D]."""
        if encoder_hidden_states is None or hidden_states.ndim != 3:
            out: Tensor = self.stock(attn, hidden_states, encoder_hidden_states, attention_mask, temb, **kwargs)
            return out
        residual = hidden_states
        if attn.group_norm is not None:
            hidden_states = attn.group_norm(hidden_states.transpose(1, 2)).transpose(1, 2)
        if attn.norm_cross:
            encoder_hidden_states = attn.norm_encoder_hidden_states(encoder_hidden_states)
        mask = attn.prepare_attention_mask(attention_mask, encoder_hidden_states.shape[1], hidden_states.shape[0])
        query = attn.head_to_batch_dim(attn.to_q(hidden_states))
        key = attn.head_to_batch_dim(attn.to_k(encoder_hidden_states))
        value = attn.head_to_batch_dim(attn.to_v(encoder_hidden_states))
        probabilities = attn.get_attention_scores(query, key, mask)
        self.recorder.offer(probabilities, attn.heads)
        mixed = attn.to_out[1](attn.to_out[0](attn.batch_to_head_dim(torch.bmm(probabilities, value))))
        if attn.residual_connection:
            mixed = mixed + residual
        result: Tensor = mixed / attn.rescale_output_factor
        return result


def cross_attention_sizes(unet: nn.Module, latent_size: int) -> dict[str, int]:
    """Return processor name -> R for the cross-attention layers of the down and up path, for square latents.

    The mid block is left out, as in the released code. R follows from the block's depth: every down block but the last halves.
    """
    config: Any = unet.config
    depth = len(config.down_block_types)
    sizes: dict[str, int] = {}
    for name in unet.attn_processors:  # type: ignore[union-attr]
        place, _, rest = name.partition(".")
        if ".attn2." not in name or place not in ("down_blocks", "up_blocks"):
            continue
        block = int(rest.split(".")[0])
        halvings = block if place == "down_blocks" else depth - 1 - block
        sizes[name] = -(-latent_size // 2**halvings)
    return sizes


def choose_resolution(unet: nn.Module, latent_size: int, wanted: int | None) -> int:
    """Return the map size to read: `wanted`, or the one nearest to a quarter of the latent (16 of 64 in SD)."""
    sizes = sorted(set(cross_attention_sizes(unet, latent_size).values()))
    if not sizes:
        raise UserError(
            "this generator's network has no cross-attention maps, which attentive image guidance reads. "
            'Use a UNet pipeline (SD 1.x, 2.x, XL), sampling.image.mask = "none", or the strategy text-only.'
        )
    if wanted is not None and wanted not in sizes:
        raise UserError(
            f"no cross-attention map of size {wanted} in this UNet at latent size {latent_size}; there are {sizes}."
        )
    return wanted or min(sizes, key=lambda size: (max(size / (latent_size / 4), latent_size / 4 / size), -size))


def map_layers(unet: nn.Module, latent_size: int, resolution: int) -> list[Attention]:
    """Return the cross-attention layers whose maps have this size."""
    chosen = {name for name, size in cross_attention_sizes(unet, latent_size).items() if size == resolution}
    return [unet.get_submodule(name.removesuffix(".processor")) for name in chosen]


@contextmanager
def recording(layers: Sequence[Attention], resolution: int) -> Iterator[AttentionRecorder]:
    """Record the maps of these layers inside the block; their processors come back afterwards, the same objects."""
    before = [layer.processor for layer in layers]
    recorder = AttentionRecorder(resolution, len(layers))
    try:
        for layer, stock in zip(layers, before, strict=True):
            layer.set_processor(RecordingProcessor(recorder, stock))
        yield recorder
    finally:
        for layer, stock in zip(layers, before, strict=True):
            layer.set_processor(stock)
