"""prediction -> hard example: which real images the classifier has most to learn of; pure functions of labels and logits."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from ..core.errors import UserError
from ..core.options import Choices, options
from ..core.types import HardExample, Source
from .predictions import Predictions

OWN, AUTO, HOLDOUT, TRAINING, CROSS_FIT = "own", "auto", "holdout", "training", "cross-fit"
POOLS = (OWN, AUTO, HOLDOUT, TRAINING, CROSS_FIT)
WRONG, LOSS, MEDIUM = "misclassified", "loss", "medium"
CRITERIA = (OWN, WRONG, LOSS, MEDIUM, "margin", "entropy", "confused-pair", "random")
ENOUGH_HELD_OUT = 1000
"""Images below which the paper calls a hold-out poor (ActGen, its curve over the size of the validation set)."""


@options("mining")
class Mining:
    """Which real images are looked at, and which of them are generated anew. "own" and a share of 0: what the strategy says.

    `pool`: "holdout", images held out of the training for the time of the rounds (the paper); "training", the training images
    with their running losses, so that no label is given up; "cross-fit", all training images as models see them that have
    not trained on them; "auto", the hold-out where it has `ENOUGH_HELD_OUT` images or more, else the training images, so that
    small data give no label away.

    `by`: "misclassified" (the paper), or the `share` of the pool with the highest loss, smallest margin, highest entropy;
    "medium": those whose loss lies between the quantiles `band_start` and `band_stop` of the pool's (what is hardest is often
    ambiguous: arXiv 2411.18109 gains most by medium difficulty); "confused-pair": misclassified as the class with which theirs
    is most often confused; "random": all of it.
    """

    pool: Annotated[str, Choices(POOLS), Field(description="Where hard examples are looked for.")] = OWN
    by: Annotated[str, Choices(CRITERIA), Field(description="What makes an image a hard example.")] = OWN
    share: Annotated[float, Field(ge=0, le=1, description="Part of the pool that is taken; 0: the strategy's own.")] = 0.0
    band_start: Annotated[float, Field(ge=0, le=1, description="Of by = medium: the lower quantile of the loss.")] = 0.5
    band_stop: Annotated[float, Field(ge=0, le=1, description="Of by = medium: the upper quantile of the loss.")] = 0.8
    per_class: Annotated[int, Field(ge=0, le=10**9, description="At most so many of a class, the hardest; 0: any.")] = 0
    balanced: Annotated[bool, Field(description="As many of every class as of the rarest.")] = False
    folds: Annotated[int, Field(ge=2, le=1000, description="Of pool = cross-fit: how many models.")] = 5
    fold_epochs: Annotated[int, Field(ge=1, le=10**6, description="Epochs of each, before anything else.")] = 10
    proxy_epochs: Annotated[
        int,
        Field(
            ge=1,
            le=10**6,
            description="Epochs of the proxy model, for strategies that generate before the training what is hard after it.",
        ),
    ] = 25

    def __post_init__(self) -> None:
        if self.band_start >= self.band_stop:
            raise UserError(
                f"mining.band_start = {self.band_start}, mining.band_stop = {self.band_stop}: allowed is a start below the "
                "stop; 0.5 and 0.8, for example."
            )

    def over(self, own: Mining, held_out: int = ENOUGH_HELD_OUT) -> Mining:
        """Return these settings with what a strategy says, `own`, where they leave it to the strategy; the pool is settled.

        `held_out`: how many images a hold-out has or would have. Where "auto" then takes the training images, a strategy's
        "misclassified" is the `share` with the highest loss: of what has been trained on, little stays misclassified.
        """
        pool, by = own.pool if self.pool == OWN else self.pool, own.by if self.by == OWN else self.by
        if pool == AUTO:
            pool = HOLDOUT if held_out >= ENOUGH_HELD_OUT else TRAINING
            by = LOSS if (pool, self.by, by) == (TRAINING, OWN, WRONG) else by
        return replace(self, pool=pool, by=by, share=self.share or own.share)


MISCLASSIFIED = Mining(pool=AUTO, by=WRONG, share=0.25)  # the paper, where the hold-out is large enough
ON_HOLDOUT = replace(MISCLASSIFIED, pool=HOLDOUT)


def mine(predictions: Predictions, keys: Sequence[str], mining: Mining) -> list[HardExample]:
    """Return the hard examples among the predictions, in the order of the set; `mining` leaves nothing to a strategy."""
    losses = predictions.losses_N
    hardness = _hardness(predictions, losses, mining.by)
    rows = _chosen(predictions, hardness, mining)
    rows = _thinned(rows, predictions.labels_N, hardness, mining)
    predicted, probabilities = predictions.predicted_N, predictions.logits_NK.softmax(dim=1)
    return [
        HardExample(
            source=Source(split=mining.pool, index=i, key=keys[i]),
            label=(label := int(predictions.labels_N[i])),
            predicted=int(predicted[i]),
            loss=float(losses[i]),
            probability=float(probabilities[i, label]),
        )
        for i in rows
    ]


def misclassified(predictions: Predictions, keys: Sequence[str]) -> list[HardExample]:
    """Return every held-out image whose top-1 class is not its label (the paper's prototypes)."""
    return mine(predictions, keys, ON_HOLDOUT)


def _hardness(predictions: Predictions, losses: Tensor, by: str) -> Tensor:
    """Return what the images are ranked by, [N], more is harder."""
    logits = predictions.logits_NK
    if by == "margin":
        others = logits.scatter(1, predictions.labels_N[:, None], -torch.inf)
        gap: Tensor = others.amax(dim=1) - logits.gather(1, predictions.labels_N[:, None])[:, 0]
        return gap
    if by == "entropy":
        entropy: Tensor = torch.special.entr(logits.softmax(dim=1)).sum(dim=1)
        return entropy
    return losses


def _chosen(predictions: Predictions, hardness: Tensor, mining: Mining) -> list[int]:
    wrong = (predictions.predicted_N != predictions.labels_N).nonzero()[:, 0].tolist()
    if mining.by == WRONG:
        return list(wrong)
    if mining.by == MEDIUM:
        easiest_first = hardness.argsort(stable=True)
        return sorted(
            easiest_first[round(mining.band_start * len(hardness)) : math.ceil(mining.band_stop * len(hardness))].tolist()
        )
    if mining.by == "confused-pair":
        return _most_confused(wrong, predictions)
    if mining.by == "random":
        return list(range(len(hardness)))
    count = math.ceil(mining.share * len(hardness))
    return sorted(hardness.argsort(descending=True, stable=True)[:count].tolist())


def _most_confused(wrong: Sequence[int], predictions: Predictions) -> list[int]:
    """Keep of every class the images that are taken for the class it is most often taken for (ties: the lower class)."""
    labels, predicted = predictions.labels_N.tolist(), predictions.predicted_N.tolist()
    counts = Counter((labels[i], predicted[i]) for i in wrong)
    partner = {label: min((-n, guess) for (own, guess), n in counts.items() if own == label)[1] for label, _ in counts}
    return [i for i in wrong if predicted[i] == partner[labels[i]]]


def _thinned(rows: Sequence[int], labels: Tensor, hardness: Tensor, mining: Mining) -> list[int]:
    counts = Counter(int(labels[i]) for i in rows)
    most = min(counts.values(), default=0) if mining.balanced else mining.per_class
    most = min(most, mining.per_class or most)
    if not most:
        return list(rows)
    taken: Counter[int] = Counter()
    kept = []
    for i in sorted(rows, key=lambda i: (-float(hardness[i]), i)):
        label = int(labels[i])
        taken[label] += 1
        if taken[label] <= most:
            kept.append(i)
    return sorted(kept)
