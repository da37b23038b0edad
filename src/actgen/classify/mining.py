"""prediction -> mistake: pure functions of labels and logits."""

from __future__ import annotations

from collections.abc import Sequence

from torch.nn import functional as F

from ..records import Mistake, Source
from .evaluate import Predictions


def misclassified(predictions: Predictions, keys: Sequence[str], split: str = "holdout") -> list[Mistake]:
    """Return every image whose top-1 class is not its label, in the order of the set (the paper's prototypes)."""
    losses = F.cross_entropy(predictions.logits_NK, predictions.labels_N, reduction="none")
    probabilities = predictions.logits_NK.softmax(dim=1)
    return [
        Mistake(
            source=Source(split=split, index=i, key=keys[i]), label=label, predicted=guess, loss=float(losses[i]),
            probability=float(probabilities[i, label]),
        )
        for i, (label, guess) in enumerate(zip(predictions.labels_N.tolist(), predictions.predicted_N.tolist(), strict=True))
        if label != guess
    ]  # fmt: skip
