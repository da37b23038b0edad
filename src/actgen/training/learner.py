"""The learner: a classifier and all that the steps of its training need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from ..classifiers.classifier import Classifier
from ..core.device import open_accelerator
from ..core.parallel import ranks
from ..diffusion.weights import hash_networks
from .optim.average import averaged
from .optim.microbatch import MicroBatches
from .options import MIXED, TrainingOptions
from .parallel.batchnorm import has_batch_norm
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
    running losses. `watched`: of how many real images the losses are followed while they are trained on (`running`). `model` is
    the classifier as accelerate prepared it, `average` the moving average of its weights, `initial_weights` the digest of the
    classifier before its first step.
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
        self.micro_batches = MicroBatches(may_split=ranks.size() == 1 or not has_batch_norm(self.classifier))

    def _open(self) -> None:
        """Make what the training steps need."""
        options = self.options
        self.accelerator = open_accelerator(options.precision, f'training.precision = "{options.precision}"')
        optimizer = options.optimizer.create(self.classifier, options.learning_rate, options.weight_decay)
        if ranks.size() == 1 and self.accelerator.num_processes == 1:
            self.model, self.optimizer = self.accelerator.prepare(self.classifier, optimizer)
        else:  # accelerate would wrap the model; what ranks share is in `loop.py`, and a loop of others has one of them here
            self.model = self.accelerator.prepare_model(self.classifier, evaluation_mode=True)
            self.optimizer = self.accelerator.prepare_optimizer(optimizer)
        if options.precision in MIXED:  # only the training step is in mixed precision: see `_step`
            self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
        self.average = averaged(self.classifier, options.ema_decay) if options.ema_decay else None
        self.running = RunningLosses(self.watched) if self.watched else None

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
