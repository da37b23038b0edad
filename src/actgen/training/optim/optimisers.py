"""How the weights move: the optimiser as a part of a recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ...core.errors import UserError, refuse_unknown

NAMES = ("sgd", "adamw")


@dataclass(frozen=True, kw_only=True)
class OptimizerOptions:
    """`name`: "sgd" (with `momentum`, `nesterov`) or "adamw" (Loshchilov and Hutter 2019; with `beta1`, `beta2`, `eps`).

    `decay_all` false leaves biases and the scales of norms, all that has one dimension, without weight decay.
    """

    name: str = "sgd"
    momentum: float = 0.9
    nesterov: bool = True
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    decay_all: bool = True

    def __post_init__(self) -> None:
        refuse_unknown("training.optimizer.name =", self.name, NAMES)
        if self.name == "sgd" and self.nesterov and self.momentum == 0:
            raise UserError(
                "training.optimizer.nesterov needs momentum: set training.optimizer.nesterov=false with momentum 0."
            )

    def create(self, model: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
        """Return the optimiser of the parameters of `model` that are to learn."""
        groups = self._groups(model, weight_decay)
        if self.name == "adamw":
            return torch.optim.AdamW(
                groups, lr=learning_rate, betas=(self.beta1, self.beta2), eps=self.eps, weight_decay=weight_decay
            )
        return torch.optim.SGD(
            groups, lr=learning_rate, momentum=self.momentum, nesterov=self.nesterov, weight_decay=weight_decay
        )

    def _groups(self, model: nn.Module, weight_decay: float) -> Any:
        if self.decay_all:
            return [parameter for parameter in model.parameters() if parameter.requires_grad]
        from timm.optim import param_groups_weight_decay

        return [group for group in param_groups_weight_decay(model, weight_decay) if group["params"]]
