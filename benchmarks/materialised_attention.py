"""Attention as ActGen's released code reads it: every probability of a layer materialised by a processor of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


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
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        **kwargs: Any,
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
