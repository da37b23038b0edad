"""Cross-attention maps of a UNet that we do not own: borrowed inside a `with`, given back as found.

Only the layers that are read materialise softmax(QK^T); all others keep their fused attention.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UserError


@dataclass
class AttentionRecorder:
    """Collects one map a layer while `active`; `take()` hands over their mean and forgets them."""

    resolution: int
    active: bool = True
    maps: list[Tensor] = field(default_factory=list)

    def offer(self, probabilities: Tensor, heads: int) -> None:
        """Keep the head mean of `probabilities` [B*heads, R*R, L] if it has this recorder's resolution."""
        if probabilities.shape[1] == self.resolution**2:
            self.maps.append(probabilities.detach().float().unflatten(0, (-1, heads)).mean(dim=1))

    def take(self) -> Tensor:
        """Return the mean over the layers as [B, R, R, L], every layer with equal weight."""
        mean = torch.stack(self.maps).mean(dim=0)
        self.maps.clear()
        square: Tensor = mean.unflatten(1, (self.resolution, self.resolution))
        return square


class RecordingProcessor:
    """Attention in the open: the mathematics of the stock processor with the probabilities offered to a recorder."""

    def __init__(self, recorder: AttentionRecorder, stock: Any) -> None:
        self.recorder = recorder
        self.stock = stock

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None, temb: Tensor | None = None, **kwargs: Any,
    ) -> Tensor:  # fmt: skip
        """Return what the stock processor returns, [B, Q, D]."""
        if not self.recorder.active or encoder_hidden_states is None or hidden_states.ndim != 3:
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
            "Use a UNet pipeline (SD 1.x, 2.x) or the strategy text-only."
        )
    if wanted is not None and wanted not in sizes:
        raise UserError(
            f"no cross-attention map of size {wanted} in this UNet at latent size {latent_size}; there are {sizes}."
        )
    return wanted or min(sizes, key=lambda size: (max(size / (latent_size / 4), latent_size / 4 / size), -size))


@contextmanager
def recording(unet: Any, latent_size: int, resolution: int) -> Iterator[AttentionRecorder]:
    """Record the cross-attention maps of size `resolution` inside the block; the UNet's processors come back afterwards."""
    recorder = AttentionRecorder(resolution)
    before = dict(unet.attn_processors)
    chosen = {name for name, size in cross_attention_sizes(unet, latent_size).items() if size == resolution}
    try:
        unet.set_attn_processor(
            {name: RecordingProcessor(recorder, stock) if name in chosen else stock for name, stock in before.items()}
        )
        yield recorder
    finally:
        unet.set_attn_processor(dict(before))  # set_attn_processor empties the dict it is given
