"""The settings of a training: what `[training]` in a recipe holds."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated

from pydantic import Field

from ..core.device import EXACT
from ..core.errors import UserError
from ..core.options import Choices, options
from .augment.augmentation import Augmentation
from .augment.mixing import Mixing
from .distil import Distil
from .optim.losses import Loss
from .optim.optimisers import OptimizerOptions
from .sampling import Sampling

EPOCH_LENGTHS = ("real", "grow")
MIXED = ("bf16", "fp16")
PRECISIONS = ("no", *MIXED, EXACT)


@options("training")
class TrainingOptions:
    """The classifier's training: unless changed, SGD with Nesterov momentum 0.9, warm-up and cosine."""

    epochs: Annotated[int, Field(ge=1, le=10**6, description="Passes over the real images.")] = 30
    batch_size: Annotated[int, Field(ge=2, le=10**6, description="Images a step.")] = 64
    learning_rate: Annotated[float, Field(ge=1e-12, le=1e3, description="The highest rate, after the warm-up.")] = 0.1
    min_learning_rate: Annotated[float, Field(ge=0, le=1e3, description="Where the cosine ends.")] = 0.0
    weight_decay: Annotated[float, Field(ge=0, le=10, description="Weight decay.")] = 5e-4
    warmup: Annotated[float, Field(ge=0, le=0.9, description="Fraction of the schedule in which the rate rises.")] = 0.1
    warmup_epochs: Annotated[float, Field(ge=0, le=10**6, description="The same in epochs; 0: `warmup` holds.")] = 0.0
    label_smoothing: Annotated[float, Field(ge=0, le=0.99, description="Probability given to all classes alike.")] = 0.1
    clip_norm: Annotated[float, Field(ge=0, le=1e9, description="Largest norm of the gradient; 0: any.")] = 0.0
    ema_decay: Annotated[
        float,
        Field(ge=0, le=0.999999, description="Decay of a moving average of the weights, which is tested and saved; 0: none."),
    ] = 0.0
    precision: Annotated[
        str,
        Choices(PRECISIONS),
        Field(description="bf16 or fp16: mixed; fp64: float64."),
    ] = "no"
    epoch_length: Annotated[
        str, Choices(EPOCH_LENGTHS), Field(description="real: the steps of the real data; grow: those of the grown set.")
    ] = "real"
    test_every: Annotated[
        int, Field(ge=1, le=10**6, description="Measure the test accuracy after so many epochs, for the curves only.")
    ] = 1
    accumulate: Annotated[
        int,
        Field(
            ge=1,
            le=1024,
            description="Parts in which a batch passes the model; one process takes more where memory does not suffice.",
        ),
    ] = 1
    compile: Annotated[bool, Field(description="Train on what torch.compile makes of the classifier.")] = False
    workers: Annotated[int, Field(ge=0, le=256, description="Processes that load data; 0: this one.")] = 0
    keep_checkpoints: Annotated[int, Field(ge=1, le=1000, description="How many of the newest checkpoints stay.")] = 2
    optimizer: OptimizerOptions = field(default_factory=OptimizerOptions)
    loss: Loss = field(default_factory=Loss)
    augment: Augmentation = field(default_factory=Augmentation)
    mixing: Mixing = field(default_factory=Mixing)
    distil: Distil = field(default_factory=Distil)
    sampling: Sampling = field(default_factory=Sampling)

    def __post_init__(self) -> None:
        if self.warmup_fraction > 0.9:
            raise UserError(
                f"training.warmup_epochs = {self.warmup_epochs:g} of {self.epochs} epochs leaves too little after the "
                "warm-up: allowed is up to nine tenths of the epochs."
            )
        if self.mixing.acts and self.batch_size % 2:
            raise UserError(f"training.batch_size = {self.batch_size}: training.mixing mixes pairs. Give an even number.")

    @property
    def warmup_fraction(self) -> float:
        """The part of the schedule in which the rate rises."""
        return self.warmup_epochs / self.epochs if self.warmup_epochs else self.warmup
