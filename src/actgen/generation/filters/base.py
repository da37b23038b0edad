"""The face of every filter: a judge of one sample that looks, and changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ...classifiers.classifier import Classifier
from ...core.types import Sample
from .thumbnails import Album


@dataclass(frozen=True, kw_only=True)
class FilterVerdict:
    """Kept, or refused by the filter of that name. `score` is what it measured, `reason` says it in words."""

    filter: str = ""
    reason: str = ""
    score: float = 0.0

    @property
    def kept(self) -> bool:
        """Whether the sample may enter the store."""
        return not self.filter


KEPT = FilterVerdict()


@dataclass(frozen=True)
class FilterView:
    """What a filter may look at beside the sample: the (averaged) classifier, and what is stored, by label."""

    classifier: Classifier
    stored: dict[int, Album]


class Filter(Protocol):
    """Judges samples by one idea; a pure function of sample and view, so the order of filters decides the reason only."""

    @property
    def name(self) -> str:
        """The filter's name in the rejection log."""
        ...

    def judge(self, sample: Sample, view: FilterView) -> FilterVerdict:
        """Return `KEPT`, or the rejection with its reason."""
        ...
