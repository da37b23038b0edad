"""Label consistency: does the classifier see anything of the class in the picture?

The method generates what the classifier gets wrong, so agreement cannot be asked for: only that the class is not out of the
question. The classifier is averaged over the rounds, since a single one swings from epoch to epoch.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor

from ...classifiers.classifier import Classifier
from ...classifiers.predictions import predict_pixels
from ...core.types import Sample
from ...data.datasets.imageset import fit_square, stack_pixels
from .base import KEPT, FilterVerdict, FilterView
from .options import TOP_K


class Consistency:
    """Refuses a picture whose class is not among the first `top_k`, or has less than `probability`, by `rule`."""

    name = "consistency"

    def __init__(self, rule: str, top_k: int, probability: float) -> None:
        self.rule, self.top_k, self.probability = rule, top_k, probability

    def judge(self, sample: Sample, view: FilterView) -> FilterVerdict:
        """Ask the averaged classifier."""
        pixels = stack_pixels([fit_square(sample.image, view.classifier.image_size)])
        probabilities = predict_pixels(view.classifier, pixels).softmax(dim=1)[0]
        own = float(probabilities[sample.request.label])
        rank = 1 + int((probabilities > own).sum())
        if rank <= self.top_k if self.rule == TOP_K else own >= self.probability:
            return KEPT
        return FilterVerdict(
            filter=self.name,
            reason=f"{sample.request.class_name} is the classifier's choice {rank} ({own:.3f})",
            score=round(own, 6),
        )


def moved(average: Mapping[str, Tensor], now: Mapping[str, Tensor], keep: float) -> dict[str, Tensor]:
    """Return an average of weights and statistics moved towards those of now: `keep` of the old, the rest of the new.

    What is counted in whole numbers is taken from now; an empty average becomes a copy of now.
    """
    return {
        name: torch.lerp(value, average[name].to(value), keep) if average and value.is_floating_point() else value.clone()
        for name, value in ((name, value.detach()) for name, value in now.items())
    }


def loaded(classifier: Classifier, weights: Mapping[str, Tensor]) -> Classifier:
    """Return a copy of a classifier with other weights, to be looked at only."""
    other = copy.deepcopy(classifier).eval().requires_grad_(False)
    other.load_state_dict(dict(weights))
    return other
