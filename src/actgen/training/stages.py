"""The stages of a training, as values: before it, within an epoch, a round that has begun or is away, an epoch that is over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ..classifiers.classifier import Classifier
from ..classifiers.predictions import Predictions
from ..core.types import Plan


@dataclass(frozen=True, kw_only=True)
class EpochStats:
    """One epoch; accuracies in percent, times in seconds, `optimizer_steps` since the start. In the lines of
    a loop of others (`active.py`), which `fit` does not yield, what only that loop knows is None.

    `synthetic_images` were trained on, `generated_so_far` are there after the round. `failed`: requests of this epoch's round
    that gave no picture in any precision, with the reason.
    `filters`: what the round drew, kept and refused (`filters/tally.py`). `waited_seconds`, `staleness`: of a round that was
    generated in a second process and joined after this epoch, how long the training waited for it, and how stale it is
    (`away.py`). `evaluation_seconds`: of the look at the test images, which `train_seconds` leaves out. `holdout_accuracy` is
    the accuracy on the images that a round looked at. `mined_pool` names them: "holdout", "training" (where it is the training
    accuracy) or "cross-fit"; None in an epoch without a look, and in rows of earlier versions.
    """

    epoch: int
    train_loss: float
    learning_rate: float
    test_accuracy: float | None
    validation_accuracy: float | None
    holdout_accuracy: float | None
    per_class: dict[str, float] | None
    real_images: int
    synthetic_images: int
    generated_so_far: int
    optimizer_steps: int
    train_seconds: float
    generation_seconds: float
    failed: list[dict[str, str]]
    filters: dict[str, Any]
    waited_seconds: float = 0.0
    staleness: int | None = None
    mined_pool: str | None = None
    evaluation_seconds: float = 0.0


@dataclass(frozen=True)
class Proxy:
    """What trainings of other classifiers before the training took, which are there only to choose what is generated."""

    optimizer_steps: int
    seconds: float


@dataclass(frozen=True)
class ProxyModel:
    """A classifier that a short training made, what it thinks of the real images, and the seconds it took."""

    classifier: Classifier
    predictions: Predictions
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A round that has begun: what is to be generated, the accuracy on what it looked at (percent), the seconds that took.

    `weights`: the digest of the classifier that it asked, where another loop trains, which may come back with another one.
    """

    plan: Plan
    holdout_accuracy: float | None
    seconds: float
    weights: str = ""

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Begun:
        """Return what `data` is the `dataclasses.asdict` of."""
        return cls(**{**data, "plan": Plan.from_data(data["plan"])})


@dataclass(frozen=True)
class PendingRound:
    """A round that is generated in a second process, and the weights of the classifier that it asks."""

    begun: Begun
    weights: dict[str, Tensor]


@dataclass(kw_only=True)
class Within:
    """An epoch that was stopped after `steps` steps: the sum of the losses, the last rate, torch's random states, seconds."""

    steps: int = 0
    losses: float = 0.0
    rate: float = 0.0
    random: dict[str, Tensor] = field(default_factory=dict)
    seconds: float = 0.0
