"""The settings of a training: what `[training]` in a recipe holds."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..core.device import EXACT
from .augment.batch import Augmentation
from .augment.mixing import Mixing
from .distil import Distil
from .optim.losses import Loss
from .optim.optimisers import OptimizerOptions
from .sampling import Sampling

EPOCH_LENGTHS = ("real", "grow")
MIXED = ("bf16", "fp16")
PRECISIONS = ("no", *MIXED, EXACT)


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """The classifier's training: unless changed, SGD with Nesterov momentum 0.9, warm-up and cosine.

    `warmup`: fraction of the schedule, or `warmup_epochs` if above 0; the cosine ends at `min_learning_rate`. `clip_norm`:
    largest norm of the gradient, 0 for any. `ema_decay`: keep a moving average of the weights, which is what is tested and
    saved; 0 for none. `precision`: "bf16" or "fp16" for mixed precision, "fp64" for a classifier in float64, which several
    processes train as one does (`docs/processes.md`). `epoch_length`: "real" keeps the steps of an epoch at
    those of the real data, "grow" follows the grown set. `test_every`: test accuracy is measured after every that many epochs,
    for the curves only. `workers`: data-loading processes. `keep_checkpoints`: the newest so many are kept.
    """

    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 0.1
    min_learning_rate: float = 0.0
    weight_decay: float = 5e-4
    warmup: float = 0.1
    warmup_epochs: float = 0.0
    label_smoothing: float = 0.1
    clip_norm: float = 0.0
    ema_decay: float = 0.0
    precision: str = "no"
    epoch_length: str = "real"
    test_every: int = 1
    workers: int = 0
    keep_checkpoints: int = 2
    optimizer: OptimizerOptions = field(default_factory=OptimizerOptions)
    loss: Loss = field(default_factory=Loss)
    augment: Augmentation = field(default_factory=Augmentation)
    mixing: Mixing = field(default_factory=Mixing)
    distil: Distil = field(default_factory=Distil)
    sampling: Sampling = field(default_factory=Sampling)

    @property
    def warmup_fraction(self) -> float:
        """The part of the schedule in which the rate rises."""
        return self.warmup_epochs / self.epochs if self.warmup_epochs else self.warmup
