"""The settings of a training: what `[training]` in a recipe holds."""

from __future__ import annotations

from dataclasses import dataclass, field

from .augment import Augmentation

EPOCH_LENGTHS = ("real", "grow")


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """The classifier's training: SGD with Nesterov momentum 0.9, warm-up and cosine.

    `epoch_length`: "real" keeps the steps of an epoch at those of the real data, "grow" follows the grown set. `test_every`:
    test accuracy is measured after every that many epochs, for the curves only. `workers`: data-loading processes.
    """

    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 0.1
    weight_decay: float = 5e-4
    warmup: float = 0.1
    label_smoothing: float = 0.1
    epoch_length: str = "real"
    test_every: int = 1
    workers: int = 0
    augment: Augmentation = field(default_factory=Augmentation)
