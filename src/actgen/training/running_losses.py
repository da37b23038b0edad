"""Running losses of the real images while they are trained on: which ones are not learned, without holding any out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class RunningLosses:
    """Exponential means of the cross entropy of N images, weight 1/2 for each new look; NaN where there was none yet."""

    def __init__(self, images: int) -> None:
        self.losses_N = torch.full((images,), torch.nan)

    def update(self, rows: Sequence[int], losses: Tensor) -> None:
        """Take in the losses of some images, in the order of `rows`; of an image that is there twice the last one counts."""
        index = torch.tensor(list(rows), dtype=torch.long)
        new, old = losses.detach().float().cpu(), self.losses_N[index]
        self.losses_N[index] = torch.where(old.isnan(), new, 0.5 * (old + new))

    def state_dict(self) -> dict[str, Tensor]:
        """Return the losses."""
        return {"losses": self.losses_N}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Replace the losses."""
        self.losses_N = state["losses"].clone()
