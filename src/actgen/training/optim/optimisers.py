"""How the weights move: the optimiser as a part of a recipe."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn

from ...core.errors import UserError
from ...core.options import Choices, options

SGD = "sgd"
NAMES = (SGD, "adamw", "lamb")


@options("training.optimizer")
class OptimizerOptions:
    """How the weights move: timm's SGD, AdamW (Loshchilov and Hutter 2019) or LAMB (You et al. 2020)."""

    name: Annotated[str, Choices(NAMES), Field(description="Which optimiser.")] = SGD
    momentum: Annotated[float, Field(ge=0, le=0.9999, description="Of sgd.")] = 0.9
    nesterov: Annotated[bool, Field(description="Of sgd: Nesterov's momentum.")] = True
    beta1: Annotated[float, Field(ge=0, le=0.9999, description="Of adamw and lamb.")] = 0.9
    beta2: Annotated[float, Field(ge=0, le=0.999999, description="Of adamw and lamb.")] = 0.999
    eps: Annotated[float, Field(ge=0, le=1, description="Of adamw and lamb.")] = 1e-8
    decay_all: Annotated[
        bool, Field(description="false: biases and the scales of norms, all of one dimension, have no weight decay.")
    ] = True

    def __post_init__(self) -> None:
        if self.name == SGD and self.nesterov and self.momentum == 0:
            raise UserError(
                "training.optimizer.nesterov needs momentum: set training.optimizer.nesterov=false with momentum 0."
            )

    def create(self, model: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
        """Return the optimiser of the parameters of `model` that are to learn."""
        from timm.optim import create_optimizer_v2

        own = {"betas": (self.beta1, self.beta2), "eps": self.eps}
        if self.name == SGD:
            own = {}
        kind = "momentum" if self.name == SGD and not self.nesterov else self.name  # timm's sgd is Nesterov's
        return create_optimizer_v2(  # type: ignore[no-any-return]
            self._groups(model, weight_decay),
            opt=kind,
            lr=learning_rate,
            weight_decay=weight_decay,
            momentum=self.momentum,
            **own,
        )

    def _groups(self, model: nn.Module, weight_decay: float) -> Any:
        if self.decay_all:
            return [parameter for parameter in model.parameters() if parameter.requires_grad]
        from timm.optim import param_groups_weight_decay

        return [group for group in param_groups_weight_decay(model, weight_decay) if group["params"]]
