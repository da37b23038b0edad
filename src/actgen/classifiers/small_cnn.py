"""Residual networks for 32-pixel images that train in seconds on two cores: `actgen/small-cnn` of 0.3M parameters, and
`actgen/tiny-cnn` of half the width and 0.08M.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class _Block(nn.Module):
    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outside)
        self.skip = nn.Conv2d(inside, outside, 1, stride, bias=False) if inside != outside or stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(hidden)) + self.skip(x))


class SmallCNN(nn.Module):
    """[B, 3, 32, 32], normalised -> logits [B, K]. A stride-2 stem, then three residual stages of W = `width`, 2 W and 4 W
    channels.
    """

    def __init__(self, classes: int, width: int = 32) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.stages = nn.Sequential(_Block(width, width, 1), _Block(width, 2 * width, 2), _Block(2 * width, 4 * width, 2))
        self.head = nn.Linear(4 * width, classes)
        self.to(memory_format=torch.channels_last)

    def stage_outputs(self, x: Tensor) -> list[Tensor]:
        """Return the outputs of the stem and of every stage: [B, W, 16, 16], ..., [B, 4 W, 4, 4]."""
        outputs = [self.stem(x)]
        for stage in self.stages:
            outputs.append(stage(outputs[-1]))
        return outputs

    def features(self, x: Tensor) -> Tensor:
        """Return the pooled features [B, 4 W]."""
        return self.stages(self.stem(x)).mean(dim=(2, 3))  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [B, K]."""
        return self.head(self.features(x))  # type: ignore[no-any-return]
