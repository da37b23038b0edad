"""What the classifier is trained to lower."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from ...core.options import Choices, options

NAMES = ("cross-entropy", "focal", "logit-adjustment", "class-balanced")


@options("training.loss")
class Loss:
    """What is lowered: cross entropy, or the focal loss (Lin et al. 2017, eq. 4), which looks away from what is sure.

    Two are for classes of unequal size: logit adjustment (Menon et al. 2021, eq. 10) with `tau`, and class-balanced cross
    entropy (Cui et al. 2019, eq. 10) with `beta`.
    """

    name: Annotated[str, Choices(NAMES), Field(description="Which loss.")] = "cross-entropy"
    gamma: Annotated[float, Field(ge=0, le=100, description="Of the focal loss; 0 is cross entropy.")] = 2.0
    tau: Annotated[float, Field(ge=0, le=100, description="Of the logit adjustment; 0 is cross entropy.")] = 1.0
    beta: Annotated[float, Field(ge=0, le=0.999999, description="Of class-balanced; 0 is cross entropy.")] = 0.9999

    def __call__(self, logits_BK: Tensor, targets: Tensor, smoothing: float, counts_K: Tensor) -> Tensor:
        """Return the mean over the batch in nats. `targets`: labels [B], or probabilities [B, K].

        `counts_K`: how many images of each class there are to train on, real and generated.
        """
        if targets.is_floating_point():
            targets = targets.to(logits_BK.dtype)
        if self.name == "cross-entropy":
            return F.cross_entropy(logits_BK, targets, label_smoothing=smoothing)
        if self.name == "logit-adjustment":
            return F.cross_entropy(adjusted(logits_BK, counts_K, self.tau), targets, label_smoothing=smoothing)
        if self.name == "class-balanced":
            return class_balanced(logits_BK, targets, class_weights(counts_K, self.beta), smoothing)
        return focal(logits_BK, targets, self.gamma, smoothing)


def adjusted(logits_BK: Tensor, counts_K: Tensor, tau: float) -> Tensor:
    """Return logits + tau x log of the classes' frequencies (Menon et al. 2021, eq. 10).

    A class without images counts as one.
    """
    counts = counts_K.clamp_min(1).to(logits_BK)
    return logits_BK + tau * (counts / counts.sum()).log()


def class_weights(counts_K: Tensor, beta: float) -> Tensor:
    """Return (1 - beta) / (1 - beta^n) for classes of n images, K in all (Cui et al. 2019, eq. 10 and section 4); float64.

    A class without images counts as one.
    """
    weights = (1 - beta) / (1 - beta ** counts_K.clamp_min(1).double())
    return weights * len(counts_K) / weights.sum()


def class_balanced(logits_BK: Tensor, targets: Tensor, weights_K: Tensor, smoothing: float) -> Tensor:
    """Return the mean of w x cross entropy over the batch; w is that of an image's class, or the mean by its probabilities."""
    weights = weights_K.to(logits_BK)
    weights_B = weights[targets] if targets.ndim == 1 else targets @ weights
    return (weights_B * F.cross_entropy(logits_BK, targets, reduction="none", label_smoothing=smoothing)).mean()


def focal(logits_BK: Tensor, targets: Tensor, gamma: float, smoothing: float = 0.0) -> Tensor:
    """Return the mean of -sum_k q_k (1 - p_k)^gamma log p_k over the batch; q are the smoothed targets, p = softmax(logits).

    With one label and no smoothing this is FL(p_t) = -(1 - p_t)^gamma log p_t.
    """
    classes = logits_BK.shape[1]
    targets_BK = F.one_hot(targets, classes).to(logits_BK.dtype) if targets.ndim == 1 else targets
    targets_BK = (1 - smoothing) * targets_BK + smoothing / classes
    logs_BK = logits_BK.log_softmax(dim=1)
    unsure_BK = (-logs_BK.expm1()).clamp_min(0)  # 1 - p, exact near p = 0 and p = 1
    return -(targets_BK * unsure_BK**gamma * logs_BK).sum(dim=1).mean()
