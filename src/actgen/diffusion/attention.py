"""Cross-attention of a UNet, heard in the layers whose maps have one size (`hearing.py`); nothing of the UNet is changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..core.errors import UserError
from .backbone import Words
from .hearing import AttentionCall, listening, refuse_silence

if TYPE_CHECKING:
    from diffusers.models.attention_processor import Attention


class UNetRecorder:
    """Collects the shares of `words` (columns of `Words` for the same images) one layer and call of the UNet at a time.

    Deaf after `take()`: with gradient checkpointing the backward pass calls the layers again.
    """

    def __init__(self, words: Sequence[Words], resolution: int, layers: int) -> None:
        self.words, self.resolution, self.layers = words, resolution, layers
        self.heard: list[Tensor] = []
        self._groups: Tensor | None = None  # the same in all layers and calls of a step
        self.listening = True

    def hear(self, layer: int, call: AttentionCall) -> None:
        """Keep the shares of one call, [rows, R*R, columns]; rows are images, once for each branch that is called."""
        if not self.listening or call.query.shape[-2] != self.resolution**2:
            return
        if self._groups is None:
            self._groups = word_groups(self.words, call.key.shape[-2], call.key.device)
        groups = self._groups
        repeats = call.query.shape[0] // groups.shape[0]
        self.heard.append(call.shares(slice(None), slice(None), groups.repeat(repeats, 1, 1)))

    def take(self, images: int) -> Tensor:
        """Return the mean over the layers as [columns, branches, B, R, R], every layer with equal weight.

        The branches of classifier-free guidance may have come in one call of the UNet or in one each.
        """
        self.listening = False
        if not self.heard:
            raise refuse_silence(self.layers)
        calls = torch.stack(self.heard).unflatten(0, (-1, self.layers)).mean(dim=1)
        self.heard.clear()
        shares: Tensor = calls.flatten(0, 1).unflatten(1, (self.resolution, self.resolution)).unflatten(0, (-1, images))
        return shares.movedim(-1, 0)


def word_groups(words: Sequence[Words], keys: int, device: torch.device) -> Tensor:
    """Return [B, keys, columns] in {0, 1}: which rows of a text belong to a column's words for an image."""
    groups = torch.zeros(len(words[0]), keys, len(words))
    at = [
        (image, position, column)
        for column, images in enumerate(words)
        for image, positions in enumerate(images)
        for position in positions
    ]
    groups[tuple(torch.tensor(at).view(-1, 3).T)] = 1.0
    return groups.to(device)


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
def recording(layers: Sequence[Attention], resolution: int, words: Sequence[Words]) -> Iterator[UNetRecorder]:
    """Hear the shares of `words` in these layers inside the block."""
    recorder = UNetRecorder(words, resolution, len(layers))
    with listening(layers, recorder):
        yield recorder
