"""What the classifier is trained to lower."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from ...core.options import Choices, options

NAMES = ("cross-entropy", "focal")


@options("training.loss")
class Loss:
    """What is lowered: cross entropy, or the focal loss (Lin et al. 2017, eq. 4), which looks away from what is sure."""

    name: Annotated[str, Choices(NAMES), Field(description="Which loss.")] = "cross-entropy"
    gamma: Annotated[float, Field(ge=0, le=100, description="Of the focal loss; 0 is cross entropy.")] = 2.0

    def __call__(self, logits_BK: Tensor, targets: Tensor, smoothing: float) -> Tensor:
        """Return the mean over the batch in nats. `targets`: labels [B], or probabilities [B, K]."""
        if targets.is_floating_point():
            targets = targets.to(logits_BK.dtype)
        if self.name == "cross-entropy":
            return F.cross_entropy(logits_BK, targets, label_smoothing=smoothing)
        return focal(logits_BK, targets, self.gamma, smoothing)


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
