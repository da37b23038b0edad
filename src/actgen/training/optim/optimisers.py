"""How the weights move: the optimiser as a part of a recipe."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn

from ...core.errors import UserError
from ...core.options import Choices, options

NAMES = ("sgd", "adamw")


@options("training.optimizer")
class OptimizerOptions:
    """How the weights move: SGD, or AdamW (Loshchilov and Hutter 2019)."""

    name: Annotated[str, Choices(NAMES), Field(description="Which optimiser.")] = "sgd"
    momentum: Annotated[float, Field(ge=0, le=0.9999, description="Of sgd.")] = 0.9
    nesterov: Annotated[bool, Field(description="Of sgd: Nesterov's momentum.")] = True
    beta1: Annotated[float, Field(ge=0, le=0.9999, description="Of adamw.")] = 0.9
    beta2: Annotated[float, Field(ge=0, le=0.999999, description="Of adamw.")] = 0.999
    eps: Annotated[float, Field(ge=0, le=1, description="Of adamw.")] = 1e-8
    decay_all: Annotated[
        bool, Field(description="false: biases and the scales of norms, all of one dimension, have no weight decay.")
    ] = True

    def __post_init__(self) -> None:
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
