"""The learner: a classifier and all that the steps of its training need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from torch import nn

from ..classifiers.classifier import Classifier
from ..core.device import open_accelerator
from ..core.errors import UserError
from ..core.parallel import ranks
from ..diffusion.weights import hash_networks
from .optim.average import averaged
from .optim.microbatch import MicroBatches
from .options import MIXED, TrainingOptions
from .running_losses import RunningLosses

if TYPE_CHECKING:
    from timm.utils import ModelEmaV3


class Stateful(Protocol):
    """Whatever has a state that a stopped run goes on with."""

    def state_dict(self) -> Mapping[str, Any]:
        """Return the state: tensors, numbers, strings, lists and dicts of them."""
        ...

    def load_state_dict(self, state: Any) -> object:
        """Take the state back."""
        ...


@dataclass(kw_only=True)
class Learner:
    """A classifier that is trained, by the steps of `fit` or by another loop.

    `learns`: whether `fit` moves the weights; where another loop does (`active.py`), there is no optimiser, no average and no
    running losses. `watched`: of how many real images the losses are followed while they are trained on (`running`).
    `average`: the moving average of the weights. `initial_weights`: the digest of the classifier before its first step.
    """

    classifier: Classifier
    options: TrainingOptions
    learns: bool = True
    watched: int = 0

    def __post_init__(self) -> None:
        self.initial_weights = hash_networks([self.classifier])
        self.average: ModelEmaV3 | None = None
        self.running: RunningLosses | None = None
        if self.learns:
            self._open()
        self.micro_batches = MicroBatches(self.options.accumulate, may_split=ranks.size() == 1)

    def _open(self) -> None:
        """Make what the training steps need."""
        options = self.options
        _refuse_uneven(options)
        self.accelerator = open_accelerator(options.precision, f'training.precision = "{options.precision}"')
        if ranks.size() > 1 and self.accelerator.device.type == "cuda":
            self.classifier.model = nn.SyncBatchNorm.convert_sync_batchnorm(self.classifier.model)
        self.classifier.to(self.accelerator.device)
        optimizer = options.optimizer.create(self.classifier, options.learning_rate, options.weight_decay)
        self.optimizer = self.accelerator.prepare_optimizer(optimizer)
        self.average = averaged(self.classifier, options.ema_decay) if options.ema_decay else None
        self.running = RunningLosses(self.watched) if self.watched else None

    @cached_property
    def model(self) -> nn.Module:
        """The classifier as accelerate prepared it for the training steps; several processes meet at its first use."""
        alone = ranks.size() != self.accelerator.num_processes  # within the processes of another loop, one of which has this
        model: nn.Module = self.accelerator.prepare_model(self.classifier, evaluation_mode=alone)
        if self.options.precision in MIXED:  # only the training step is in mixed precision: see `epoch.py`
            self.accelerator.unwrap_model(model, keep_fp32_wrapper=False)
        return torch.compile(model) if self.options.compile else model  # type: ignore[return-value]

    @property
    def tested(self) -> Classifier:
        """What is tested and saved: the average of the weights where there is one."""
        return self.classifier if self.average is None else cast(Classifier, self.average.module)

    @property
    def parts(self) -> dict[str, Stateful]:
        """All that has a state, by name."""
        scaler = self.accelerator.scaler if self.learns else None
        return {
            **({"model": self.classifier, "optimizer": self.optimizer} if self.learns else {}),
            **({} if self.average is None else {"average": self.average.module}),
            **({} if scaler is None else {"scaler": scaler}),
            **({} if self.running is None else {"running": self.running}),
        }


def _refuse_uneven(options: TrainingOptions) -> None:
    """Raise `UserError` unless every process gets as many images of a batch, and pairs where pairs are mixed."""
    share = ranks.size() * (2 if options.mixing.acts else 1)
    if options.batch_size % share:
        pairs = " and training.mixing mixes pairs" if options.mixing.acts else ""
        raise UserError(
            f"training.batch_size = {options.batch_size}: {ranks.size()} processes take equal parts of it{pairs}. Give a "
            f"multiple of {share}."
        )
