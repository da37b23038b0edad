"""Attention heard while a network computes it: exact shares of words, without a processor of ours and without a matrix.

    shares = softmax(Q K^T / sqrt(d) + mask) O,     O_kc = 1 where key k belongs to word group c                     (1)

is one more fused attention with O in the place of the values: [B, heads, N, C] for N places of the image and C word groups,
O(N d) memory. The layers keep their processors and the output every bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ..core.errors import UserError
from .backbone import Foreign


@dataclass(frozen=True)
class AttentionCall:
    """One call of attention: `query` [B, heads, Q, d], `key` [B, heads or groups of them, K, d], and what forms the softmax."""

    query: Tensor
    key: Tensor
    mask: Tensor | None
    told: dict[str, Foreign]  # scale, is_causal, enable_gqa: torch's own keywords

    def shares(self, images: slice, places: slice, groups_BKC: Tensor) -> Tensor:
        """Return (1) for some rows of the batch and some of the queries, mean over the heads, [B, N, C], float32."""
        query, key = self.query[images, :, places], self.key[images]
        mask = self.mask
        if mask is not None:
            mask = mask[images] if mask.shape[0] > 1 else mask
            mask = mask[..., places, :] if mask.shape[-2] > 1 else mask
        width = query.shape[-1]  # fused kernels want values as wide as the keys
        assert groups_BKC.shape[-1] <= width, "more word groups than entries of a head"
        values = F.pad(groups_BKC, (0, width - groups_BKC.shape[-1])).to(key).unsqueeze(1).expand(-1, key.shape[1], -1, -1)
        told = {name: value for name, value in self.told.items() if name != "dropout_p"}
        out = F.scaled_dot_product_attention(query, key, values, attn_mask=mask, **told)
        return out[..., : groups_BKC.shape[-1]].float().mean(dim=1)


class Hearer(Protocol):
    """Who is told of the attention calls in layer number `layer` of those listened to."""

    def hear(self, layer: int, call: AttentionCall) -> None:
        """Take note of one call."""
        ...


class _Ear(TorchFunctionMode):
    """Inside, calls of scaled dot-product attention are told to `hearer` after they are done."""

    def __init__(self, hearer: Hearer, layer: int) -> None:
        super().__init__()
        self.hearer, self.layer = hearer, layer

    def __torch_function__(self, func: Foreign, types: object, args: Foreign = (), kwargs: Foreign = None) -> object:
        told: dict[str, Foreign] = dict(kwargs or {})
        out = func(*args, **told)
        if func is F.scaled_dot_product_attention:
            names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
            given = dict(zip(names, args, strict=False)) | told
            query, key, mask = given.pop("query"), given.pop("key"), given.pop("attn_mask", None)
            given.pop("value")
            with torch.no_grad():
                self.hearer.hear(self.layer, AttentionCall(query, key, mask, given))
        return out


@contextmanager
def listening(layers: Sequence[nn.Module], hearer: Hearer) -> Iterator[None]:
    """Tell `hearer` of the attention in these layers inside the block; nothing of them stays changed, also on an exception."""
    handles = []
    try:
        for number, layer in enumerate(layers):
            ears: list[_Ear] = []

            def enter(module: nn.Module, args: object, number: int = number, ears: list[_Ear] = ears) -> None:
                ears.append(_Ear(hearer, number))
                ears[-1].__enter__()  # type: ignore[no-untyped-call]

            def leave(module: nn.Module, args: object, output: object, ears: list[_Ear] = ears) -> None:
                if ears:  # not, if another hook raised before
                    ears.pop().__exit__(None, None, None)  # type: ignore[no-untyped-call]

            handles.append(layer.register_forward_pre_hook(enter))
            handles.append(layer.register_forward_hook(leave, always_call=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


def refuse_silence(layers: int) -> UserError:
    """Return what to say when layers that were listened to made no attention call that can be heard."""
    return UserError(
        f"none of the {layers} listened attention layers calls torch's scaled_dot_product_attention: another attention backend "
        "(xformers, sage, flash, sliced) is on. Switch to the native one, or leave masks out: sampling.image.mask=none."
    )
