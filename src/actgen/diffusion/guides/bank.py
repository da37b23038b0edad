"""What was generated before, by class: the memory against which the contrastive loss repels."""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor


class MemoryBank:
    """Final latents of earlier images, at most `capacity` a class, the oldest leaving first.

    While `news` is a list, what is added is noted there too (`spread.py`).
    """

    def __init__(self, capacity: int = 256) -> None:
        self.capacity = capacity
        self._latents: dict[int, deque[Tensor]] = {}
        self.news: list[tuple[int, Tensor]] | None = None

    def add(self, label: int, latents_CHW: Tensor) -> None:
        """Remember one finished image's latents."""
        self._latents.setdefault(label, deque(maxlen=self.capacity)).append(latents_CHW.detach().float().cpu())
        if self.news is not None:
            self.news.append((label, latents_CHW.detach().float().cpu()))

    def latents_of(self, label: int) -> Tensor:
        """Return all latents of `label`, [M, C, H, W]; M is 0 if there are none."""
        held = self._latents.get(label)
        return torch.stack(list(held)) if held else torch.empty(0, 0, 0, 0)

    def count(self, label: int) -> int:
        """Return how many latents of `label` are remembered."""
        return len(self._latents.get(label, ()))

    def __len__(self) -> int:
        return sum(len(held) for held in self._latents.values())

    def state_dict(self) -> dict[str, Tensor]:
        """Return the bank as tensors by label."""
        return {str(label): torch.stack(list(held)) for label, held in self._latents.items() if held}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Replace the contents by those of `state`."""
        self._latents = {int(label): deque(latents, maxlen=self.capacity) for label, latents in state.items()}
