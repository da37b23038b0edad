"""How much attention the image gives to words in a transformer: cross-attention, or joint attention over text and image.

    map_i = p_i(words) / p_i(text)  where image and text share one softmax,  p_i(words)  where it reads the text alone   (1)

p_i(.) is the probability that place i of the image puts on some rows of the text (`hearing.py`, equation 1), mean over heads
and layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .attention import word_groups
from .backbone import Words
from .families import CROSS, IMAGE_FIRST, PROMPTS_LAST, Family
from .hearing import AttentionCall, refuse_silence
from .token_rows import TokenRows

SMALLEST = 1e-8


@dataclass(frozen=True)
class HeardGroup:
    """The images of a batch that are in the next calls of the network, `rows`, and the tokens of their texts."""

    rows: Sequence[int]
    tokens: Sequence[TokenRows]


class TransformerRecorder:
    """Collects (1) for `words` (columns of `Words` for the same images), on `side` x `side` places of the image.

    Where the branches of classifier-free guidance come in one call each, the first is heard, the prompts'. Deaf after `take()`:
    with gradient checkpointing the backward pass calls the layers again.
    """

    def __init__(self, family: Family, words: Sequence[Words], side: int, layers: int) -> None:
        self.family, self.words, self.side, self.layers = family, words, side, layers
        self.maps: dict[int, list[Tensor]] = {}
        self.group: HeardGroup | None = None
        self.heard: set[int] = set()
        self.listening = True

    def begin(self, group: HeardGroup) -> None:
        """Say whose calls come next."""
        self.group, self.heard = group, set()

    def hear(self, layer: int, call: AttentionCall) -> None:
        """Keep the maps of one call in one layer."""
        if not self.listening or self.group is None or layer in self.heard:
            return
        self.heard.add(layer)
        count, places = len(self.group.rows), self.side**2
        images = slice(-count, None) if self.family.branches == PROMPTS_LAST else slice(0, count)
        at, text_at = self._layout(call)
        columns = [[image[row] for row in self.group.rows] for image in self.words]
        columns.append([[row for row, real in enumerate(one.real) if real] for one in self.group.tokens])
        shifted = [[[row + text_at for row in rows] for rows in images_] for images_ in columns]
        groups = word_groups(shifted, call.key.shape[-2], call.key.device)
        shares = call.shares(images, slice(at, at + places), groups)
        found = shares[..., :-1]
        if self.family.sequence != CROSS:
            found = found / (shares[..., -1:] + SMALLEST)
        for row, one in zip(self.group.rows, found, strict=True):
            self.maps.setdefault(row, []).append(one)

    def _layout(self, call: AttentionCall) -> tuple[int, int]:
        """Return at which query the image begins, and at which key the text."""
        family, places = self.family, self.side**2
        if family.sequence == CROSS:
            return 0, 0
        if family.sequence == IMAGE_FIRST:
            return 0, -(-places // family.pad) * family.pad
        return call.query.shape[-2] - places, family.registers

    def take(self, images: int) -> Tensor:
        """Return the mean over the layers as [columns, 1, B, side, side]."""
        self.listening = False
        if len(self.maps) < images:
            raise refuse_silence(self.layers)
        each = torch.stack([torch.stack(self.maps[row]).mean(dim=0) for row in range(images)])
        self.maps.clear()
        maps: Tensor = each.movedim(-1, 0).unflatten(-1, (self.side, self.side)).unsqueeze(1)
        return maps


def attention_layers(network: nn.Module, family: Family) -> list[nn.Module]:
    """Return the attention layers of the blocks that are read."""
    blocks, _, attention = family.layers.partition(".{}.")
    count = len(network.get_submodule(blocks)._modules)
    first = int(family.part[0] * count)
    return [
        network.get_submodule(f"{blocks}.{block}.{attention}")
        for block in range(first, max(int(family.part[1] * count), first + 1))
    ]
