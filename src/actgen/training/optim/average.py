"""The moving average of a classifier's weights, by timm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...classifiers.classifier import Classifier

if TYPE_CHECKING:
    from timm.utils import ModelEmaV3


def averaged(classifier: Classifier, decay: float) -> ModelEmaV3:
    """Return timm's `ModelEmaV3` of a classifier: `module` holds the average, `update(classifier, step=n)` moves it.

    The decay rises to `decay` as 1 - (1 + n)^(-2/3), so that the first weights are soon forgotten in short trainings too.
    """
    from timm.utils import ModelEmaV3

    return ModelEmaV3(classifier, decay, use_warmup=True)
